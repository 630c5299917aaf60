package httpproxy

import (
	"bytes"
	"errors"
	"strconv"
)

const (
	maxSizeLine = 256     // a chunk's size with its extensions
	maxDigits   = 15      // of a chunk's size: what an int64 holds
	maxTrailer  = 8 << 10 // a trailer section
)

var (
	errChunk   = errors.New("a chunk is malformed")
	errTrailer = errors.New("the trailer section is malformed or too large")
)

// A body finds a message's body in the bytes that follow its head, however these
// are cut. It holds no payload; begin makes it ready for the next message.
type body struct {
	length  int64 // as announced: a number, lengthChunked, or lengthNone for all until the end of the connection
	left    int64 // of the body, or of the chunk
	line    int   // bytes of the size line so far
	digits  int
	state   bodyState
	trailer []byte // the trailer section, with its empty line, once the body has ended
}

type bodyState uint8

const (
	inPayload    bodyState = iota
	inSize                 // of a chunk
	inExtension            // behind the size, up to CR
	inSizeEnd              // LF is to come
	inChunkEnd             // CR is to come
	inChunkEndLF           // LF is to come
	inTrailer
	bodyEnded
)

func (d *body) begin(length int64) {
	*d = body{length: length, left: length, trailer: d.trailer[:0]}
	switch length {
	case 0:
		d.state = bodyEnded
	case lengthChunked:
		d.left, d.state = 0, inSize
	}
}

// ended reports whether the body has come to its end.
func (d *body) ended() bool { return d.state == bodyEnded }

// next returns the next piece of payload in b, which may be empty, and how many
// bytes it and its framing take up: more than none unless b is empty or the body
// has ended.
func (d *body) next(b []byte) (payload []byte, used int, err error) {
	for used < len(b) {
		switch d.state {
		case inPayload:
			payload = d.payload(b[used:])
			return payload, used + len(payload), nil
		case inTrailer:
			n, err := d.trailerLine(b[used:])
			used += n
			if err != nil {
				return nil, used, err
			}
		case bodyEnded:
			return nil, used, nil
		default:
			if !d.frame(b[used]) {
				return nil, used, errChunk
			}
			used++
		}
	}
	return nil, used, nil
}

func (d *body) payload(b []byte) []byte {
	if d.length == lengthNone {
		return b
	}
	if int64(len(b)) > d.left {
		b = b[:d.left]
	}
	if d.left -= int64(len(b)); d.left == 0 {
		d.state = bodyEnded
		if d.length == lengthChunked {
			d.state = inChunkEnd
		}
	}
	return b
}

// frame takes one byte of what stands around a chunk's payload (RFC 9112, section
// 7.1), and reports whether it may stand there.
func (d *body) frame(c byte) bool {
	switch d.state {
	case inSize, inExtension:
		d.line++
		return d.line <= maxSizeLine && d.sizeByte(c)
	case inSizeEnd:
		d.state = inPayload
		if d.left == 0 {
			d.state = inTrailer
		}
		d.line, d.digits = 0, 0
		return c == '\n'
	case inChunkEnd:
		d.state = inChunkEndLF
		return c == '\r'
	default:
		d.state = inSize
		return c == '\n'
	}
}

func (d *body) sizeByte(c byte) bool {
	switch {
	case c == '\r' && d.digits > 0:
		d.state = inSizeEnd
		return true
	case d.state == inExtension:
		return valueBytes[c]
	case c == ';' && d.digits > 0:
		d.state = inExtension
		return true
	}
	v := hexValue(c)
	d.digits++
	d.left = d.left<<4 | int64(v)
	return v >= 0 && d.digits <= maxDigits
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// trailerLine takes a line of the trailer section, or the beginning of one.
func (d *body) trailerLine(b []byte) (used int, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		end = len(b) - 1
	}
	d.trailer = append(d.trailer, b[:end+1]...)
	switch {
	case len(d.trailer) > maxTrailer:
		return end + 1, errTrailer
	case b[end] != '\n':
		return end + 1, nil
	}
	before := d.trailer[:len(d.trailer)-1]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	if len(line) == 1 && line[0] == '\r' {
		d.state = bodyEnded
		return end + 1, nil
	}
	if text, ok := bytes.CutSuffix(line, []byte("\r")); ok {
		if _, _, ok := splitField(text); ok {
			return end + 1, nil
		}
	}
	return end + 1, errTrailer
}

// appendPiece appends a piece of payload, as a chunk if asked to.
func appendPiece(dst, payload []byte, chunked bool) []byte {
	if !chunked {
		return append(dst, payload...)
	}
	dst = strconv.AppendInt(dst, int64(len(payload)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, payload...)
	return append(dst, "\r\n"...)
}

// appendTrailer ends a chunked body with those fields of the trailer section, as
// kept by a body, that may stand in one.
func appendTrailer(dst, section []byte) []byte {
	dst = append(dst, "0\r\n"...)
	for len(section) > 2 {
		var line []byte
		line, section, _ = bytes.Cut(section, []byte("\r\n"))
		if name, value, ok := splitField(line); ok && kindOf(name) == ordinary {
			dst = appendField(dst, name, value)
		}
	}
	return append(dst, "\r\n"...)
}

// lastChunk ends a chunked body without trailers.
const lastChunk = "0\r\n\r\n"
