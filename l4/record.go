package l4

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// record writes the access log's line on a connection that has ended: a JSON
// object, without the members that are not known.
//
//	time           when it ended
//	listener       its name
//	client         address and port; not of unix sockets
//	server, pool   that it was relayed to, or was being connected to
//	sni            the server name that was asked for
//	tried          how many servers it was tried to connect to, this one included
//	to_upstream    bytes from the client to the server
//	to_client      bytes from the server to the client
//	connect_ms     from dialling the server to being connected
//	first_byte_ms  from then to the server's first byte
//	duration_ms    from accepting the client to the end
//	ended          the Cause
func (s *session) record(cause Cause) {
	log := s.worker.parent.options.AccessLog
	if log == nil {
		return
	}
	b := append(s.worker.scratch[:0], `{"time":"`...)
	b = time.Now().UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, '"')
	b = appendText(b, "listener", s.worker.parent.options.Name)
	b = s.appendWay(b)
	b = s.appendMoved(b)
	b = appendMillis(b, "duration_ms", microsOf(s.worker.loop.Now()-s.began))
	b = appendText(b, "ended", cause.String())
	b = append(b, "}\n"...)
	log.Write(b)
	s.worker.scratch = b
}

// appendWay appends where the connection came from and went to.
func (s *session) appendWay(b []byte) []byte {
	if d := s.detail(); d.client.IsValid() {
		b = append(b, `,"client":"`...)
		b = append(d.client.AppendTo(b), '"')
	}
	tried := 0
	if t := s.tried(); t != nil {
		tried = t.Len()
	}
	if server := s.lease.Server(); server != nil {
		b = appendText(b, "server", server.Address())
		tried++
	}
	if s.to != nil {
		b = appendText(b, "pool", s.to.Pool.Name())
	}
	if s.detail().name != "" {
		b = appendText(b, "sni", s.detail().name)
	}
	if tried > 0 {
		b = appendNumber(b, "tried", int64(tried))
	}
	return b
}

// appendMoved appends how it went, if it was relayed.
func (s *session) appendMoved(b []byte) []byte {
	if s.counts == nil {
		return b
	}
	toUpstream, toClient := s.pair.Moved()
	b = appendNumber(b, "to_upstream", toUpstream)
	b = appendNumber(b, "to_client", toClient)
	b = appendMillis(b, "connect_ms", s.connectTime)
	if toClient > 0 {
		b = appendMillis(b, "first_byte_ms", s.firstByte)
	}
	return b
}

func appendName(b []byte, name string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	return append(b, `":`...)
}

func appendNumber(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(appendName(b, name), n, 10)
}

func appendMillis(b []byte, name string, t micros) []byte {
	return strconv.AppendFloat(appendName(b, name), float64(t)/1000, 'f', -1, 64)
}

// appendText appends a string as RFC 8259 section 7 wants it. Bytes that are not
// UTF-8 become U+FFFD.
func appendText(b []byte, name, text string) []byte {
	b = append(appendName(b, name), '"')
	for i, r := range text {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			const hex = "0123456789abcdef"
			b = append(b, `\u00`...)
			b = append(b, hex[r>>4], hex[r&15])
		case r == utf8.RuneError:
			b = append(b, "\ufffd"...)
		default:
			b = append(b, text[i:i+utf8.RuneLen(r)]...)
		}
	}
	return append(b, '"')
}
