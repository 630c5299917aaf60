package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What has to become of a server's answer: the client is told that there is none,
// is cut off within it, or gets it whole.
var (
	noAnswer  = refused(502)
	cutAnswer = outcome{begun: true}
)

// passed: the client gets this answer.
func passed(start, body string) outcome { return outcome{requests: []string{start, body}} }

// ok are answers to be added to: the lines are fields.
func ok(lines ...string) string { return more("HTTP/1.1 200 OK\r\n", lines) }

// An impostor is a server whose answer to /n is the nth attack, on a connection
// that it keeps unless that attack ends with it. The marker it answers well.
func (w *world) impostor(attacks []attack) string {
	w.Helper()
	return w.tcpServer(func(conn *net.TCPConn) {
		r := newStrictReader(conn)
		for {
			m, err := r.request()
			if err != nil {
				return
			}
			target := strings.Fields(m.start)[1]
			if target == "/marker" {
				io.WriteString(conn, ok("Content-Length: 6")+"marker")
				continue
			}
			n, err := strconv.Atoi(target[1:])
			if err != nil {
				return
			}
			if io.WriteString(conn, attacks[n].sent); attacks[n].want.ends {
				return
			}
		}
	})
}

// TestHostileAnswers: what a server sends reaches the client as one whole answer
// or is seen not to be one, and no byte of it reaches who asks next, on this
// connection or another.
func TestHostileAnswers(t *testing.T) {
	const body = "\r\nContent-Length: 5\r\n\r\nhello"
	good, ten := passed("HTTP/1.1 200 OK", "hello"), passed("HTTP/1.1 200 OK", "0123456789")
	families := map[string][]attack{
		"framing-alone": framingAlone(ok, ten, noAnswer), "framing-twice": framingTwice(ok, noAnswer), "chunk-bytes": chunkBytes(ok(coded), good, cutAnswer),
		"status-lines": statusLines(body), "status-line-bytes": statusLineBytes(body), "heads": answerHeads(), "bodies": answerBodies(), "surplus": surplus(),
	}
	w, config := newWorld(t, time.Minute), object{}
	for family, attacks := range families {
		addHTTP(config, family, w.impostor(attacks))
	}
	b := w.balance(config)
	for family, attacks := range families {
		w.Run(family, func(t *testing.T) {
			t.Parallel()
			for i, a := range attacks {
				t.Run(a.name, func(t *testing.T) {
					w := &world{t, w.ctx}
					w.provoke(b.listeners[family], i, a)
					w.wantMarker(newStrictReader(w.asks(b.listeners[family], marker)), "")
				})
			}
		})
	}
}

// asks sends requests on a connection of their own.
func (w *world) asks(address, requests string) *net.TCPConn {
	w.Helper()
	conn := w.dial(address)
	conn.SetDeadline(time.Now().Add(patience))
	_, err := io.WriteString(conn, requests)
	w.must(err)
	return conn
}

// provoke asks for the attack and, behind it, for the marker.
func (w *world) provoke(address string, i int, a attack) {
	w.Helper()
	method := "GET"
	if strings.HasPrefix(a.name, "HEAD ") {
		method = "HEAD"
	}
	conn := w.asks(address, fmt.Sprintf("%s /%d HTTP/1.1\r\nHost: h\r\n\r\n", method, i)+marker)
	defer conn.Close()
	r := newStrictReader(conn)
	m, err := r.answer(method)
	for err == nil && strings.HasPrefix(m.start, "HTTP/1.1 100 ") {
		m, err = r.answer(method)
	}
	if a.want.begun {
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix(m.raw, "HTTP/1.1 200 ") {
			w.Errorf("%.300q became %q, error %v; want a part of it", a.sent, m.raw, err)
		}
		return
	}
	start, body := "HTTP/1.1 502 Bad Gateway", m.body
	if a.want.status == 0 {
		start, body = a.want.requests[0], a.want.requests[1]
	}
	if err != nil || m.start != start || m.body != body {
		w.Fatalf("%.300q became %q, error %v; want %q and %q", a.sent, m.raw, err, start, body)
	}
	w.wantMarker(r, a.sent)
}

// wantMarker wants the marker's answer to be the last.
func (w *world) wantMarker(r *strictReader, behind string) {
	w.Helper()
	m, err := r.answer("GET")
	rest, end := io.ReadAll(r)
	if err != nil || m.body != "marker" || len(rest) > 0 || end != nil {
		w.Errorf("behind %q the marker's answer is %q and then %q, errors %v and %v", behind, m.raw, rest, err, end)
	}
}

func statusLineBytes(body string) (all []attack) {
	for _, place := range []struct{ name, template string }{
		{"before", "~HTTP/1.1 200 OK"}, {"in the protocol", "HT~TP/1.1 200 OK"}, {"in the version", "HTTP/1~.1 200 OK"}, {"behind the version", "HTTP/1.1~ 200 OK"}, {"between version and status", "HTTP/1.1~200 OK"},
		{"before the status", "HTTP/1.1 ~200 OK"}, {"in the status", "HTTP/1.1 2~00 OK"}, {"behind the status", "HTTP/1.1 200~OK"},
	} {
		for _, a := range everywhere(place.name, place.template+body, always(noAnswer)) {
			switch {
			case strings.HasPrefix(a.sent, "HTTP/1.1 200 OK\r\n"):
				a.want = passed("HTTP/1.1 200 OK", "hello")
			case strings.HasPrefix(a.sent, "HTTP/1.1  200 OK\r\n"):
				continue
			}
			all = append(all, a)
		}
	}
	for _, o := range odd {
		want := noAnswer
		if isText(o) {
			want = passed("HTTP/1.1 200 O"+o+"K", "hello")
		}
		all = append(all, attack{fmt.Sprintf("in the reason %q", o), "HTTP/1.1 200 O" + o + "K" + body, want})
	}
	return all
}

func statusLines(body string) (all []attack) {
	for _, line := range []string{"", " ", "200 OK", "HTTP 200 OK", "HTTP/ 200 OK", "HTTP/1 200 OK", "HTTP/1. 200 OK", "HTTP/.1 200 OK", "HTTP/11 200 OK", "HTTP/1.10 200 OK", "HTTP/01.1 200 OK", "HTTP/0.9 200 OK", "HTTP/1.2 200 OK", "HTTP/2 200 OK", "HTTP/2.0 200 OK", "HTTP/3.0 200 OK", "http/1.1 200 OK", "Http/1.1 200 OK", "HTTPS/1.1 200 OK", "ICY 200 OK", "RTSP/1.0 200 OK",
		"HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 OK", "HTTP/1.1 OK 200", "HTTP/1.1 0 OK", "HTTP/1.1 00 OK", "HTTP/1.1 2 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 0200 OK", "HTTP/1.1 000 OK", "HTTP/1.1  200 OK", "HTTP/1.1 099 OK", "HTTP/1.1 600 OK", "HTTP/1.1 999 OK", "HTTP/1.1 -200 OK", "HTTP/1.1 +200 OK", "HTTP/1.1 0xc8 OK", "HTTP/1.1 2e2 OK", "HTTP/1.1 20x OK", "HTTP/1.1 x00 OK", "HTTP/1.1 200OK", "HTTP/1.1 200.0 OK", "HTTP/1.1 \"200\" OK", "HTTP/1.1 \u0662\u0660\u0660 OK", "HTTP/1.1\t200\tOK", " HTTP/1.1 200 OK", "HTTP/1.1, 200 OK", "HTTP/1.1 4294967496 OK", "HTTP/1.1 18446744073709551816 OK",
		"GET / HTTP/1.1", "\r\nHTTP/1.1 200 OK", "\nHTTP/1.1 200 OK", "SSH-2.0-x", "<html>", "Content-Length: 5", "101", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2", "\x15\x03\x01\x00\x02\x02\x28"} {
		all = append(all, attack{fmt.Sprintf("%q", line), line + body, noAnswer})
	}
	for name, status := range map[string]int{"a status that there is not": 299, "another": 499, "and another": 599} {
		all = append(all, attack{name, fmt.Sprintf("HTTP/1.1 %d OK", status) + body, passed(fmt.Sprintf("HTTP/1.1 %d OK", status), "hello")})
	}
	return append(all,
		attack{"no reason", "HTTP/1.1 200 " + body, passed("HTTP/1.1 200 ", "hello")},
		attack{"HTTP/1.0", "HTTP/1.0 200 OK" + body, passed("HTTP/1.1 200 OK", "hello")})
}

// answerHeads are heads that leave open where the answer ends.
func answerHeads() (all []attack) {
	for _, v := range badLengths {
		all = append(all, attack{fmt.Sprintf("length %q", v), ok("Content-Length: "+v) + "hello", noAnswer})
	}
	for _, v := range badCodings {
		all = append(all, attack{fmt.Sprintf("coding %q", v), ok("Transfer-Encoding: "+v) + "5\r\nhello\r\n0\r\n\r\n", noAnswer})
	}
	for name, sent := range map[string]string{
		"two lengths": ok("Content-Length: 5", "Content-Length: 6") + "hello", "two lengths alike": ok("Content-Length: 5", "Content-Length: 5") + "hello", "two codings": ok(coded, coded) + "0\r\n\r\n", "a coding of HTTP/1.0": "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded": ok("Content-Length: 5", "A: b", " c") + "hello", "folded length": ok("Content-Length:", " 5") + "hello", "LF only": "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "LF within": ok("A: b\nContent-Length: 5") + "hello", "CR within": ok("A: b\rContent-Length: 5") + "hello", "NUL": ok("A: b\x00", "Content-Length: 5") + "hello",
		"no colon": ok("A", "Content-Length: 5") + "hello", "late colon": ok("Content-Length : 5") + "hello", "no name": ok(": b", "Content-Length: 5") + "hello", "a blank first": ok(" Content-Length: 5") + "hello", "too many fields": ok(strings.Split(strings.Repeat("A: b,", 500)+"Content-Length: 0", ",")...),
		"too long": ok("A: "+strings.Repeat("b", 66000), "Content-Length: 0"), "17 options": ok("Connection: "+strings.Repeat("a,", 16)+"a", "Content-Length: 0"), "an upgrade that nobody asked for": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "101 and no protocol": "HTTP/1.1 101 x\r\n\r\n",
		"a body behind 1xx": "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + ok("Content-Length: 0"), "an ambiguous 1xx": "HTTP/1.1 103 x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + ok("Content-Length: 0"), "1xx with LF": "HTTP/1.1 100 Continue\n\n" + ok("Content-Length: 0"), "junk behind 1xx": "HTTP/1.1 100 Continue\r\n\r\n\r\n" + ok("Content-Length: 0"),
	} {
		all = append(all, attack{name, sent, noAnswer})
	}
	all = append(all, everywhere("in a value", ok("A: b~c", "Content-Length: 5")+"hello", when(isText, passed("HTTP/1.1 200 OK", "hello"), noAnswer))...)
	all = append(all, everywhere("in a name", ok("A~B: c", "Content-Length: 5")+"hello", always(noAnswer))...)
	for name, sent := range map[string]string{"nothing": "", "a beginning": "HTTP/1.1 200", "a line": "HTTP/1.1 200 OK\r\n", "all but an end": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "all but LF": "HTTP/1.1 200 OK\r\n\r", "CR only": "HTTP/1.1 200 OK\rContent-Length: 0\r\r", "HTTP/0.9": "<html>hello</html>", "another protocol": "* OK IMAP4 ready\r\n"} {
		all = append(all, attack{"cut in " + name, sent, outcome{status: 502, ends: true}})
	}
	return all
}

// answerBodies are bodies that do not come whole, or of which nobody can tell.
func answerBodies() (all []attack) {
	for _, size := range badSizes {
		all = append(all, attack{fmt.Sprintf("size %.40q", size), ok(coded) + size + "\r\nhello\r\n0\r\n\r\n", cutAnswer})
	}
	for name, body := range badChunks {
		all = append(all, attack{name, ok(coded) + body, cutAnswer})
	}
	for _, line := range badTrailers {
		all = append(all, attack{fmt.Sprintf("trailer %.40q", line), ok(coded) + "5\r\nhello\r\n0\r\n" + line + "\r\n\r\n", cutAnswer})
	}
	for name, sent := range map[string]string{"a length": ok("Content-Length: 6") + "hello", "a long length": ok("Content-Length: 4611686018427387903") + "hello", "all of a length": ok("Content-Length: 5"), "a chunk": ok(coded) + "6\r\nhello", "a size": ok(coded) + "5", "before the last chunk": ok(coded) + "5\r\nhello\r\n",
		"before the last line": ok(coded) + "5\r\nhello\r\n0\r\n", "half of the last line": ok(coded) + "5\r\nhello\r\n0\r\n\r", "a trailer": ok(coded) + "0\r\nA: b\r\n"} {
		all = append(all, attack{"cut in " + name, sent, outcome{begun: true, ends: true}})
	}
	for name, line := range map[string]string{"until the end": "A: b", "until the end, kept": "Connection: keep-alive", "until the end, closed": "Connection: close"} {
		want := passed("HTTP/1.1 200 OK", ok("Content-Length: 4")+"evil")
		want.ends = true
		all = append(all, attack{name, ok(line) + ok("Content-Length: 4") + "evil", want})
	}
	return all
}

// surplus is what servers send behind answers, or as bodies of those that have none.
func surplus() (all []attack) {
	good, evil := ok("Content-Length: 5")+"hello", ok("Content-Length: 4")+"evil"
	for name, more := range map[string]string{"an answer": evil, "ten answers": strings.Repeat(evil, 10), "CRLF": "\r\n", "CRLF and an answer": "\r\n" + evil, "a byte": "x", "NUL": "\x00", "a last chunk": "0\r\n\r\n", "a head": ok(coded), "half a head": "HTTP/1.1 200", "a refusal": "HTTP/1.1 408 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "1xx": "HTTP/1.1 100 Continue\r\n\r\n", "much": strings.Repeat("x", 100000)} {
		all = append(all,
			attack{name + " behind a length", good + more, passed("HTTP/1.1 200 OK", "hello")},
			attack{name + " behind chunks", ok(coded) + "5\r\nhello\r\n0\r\n\r\n" + more, passed("HTTP/1.1 200 OK", "hello")},
			attack{name + " behind no body", ok("Content-Length: 0") + more, passed("HTTP/1.1 200 OK", "")},
			attack{name + " behind 204", "HTTP/1.1 204 No Content\r\n\r\n" + more, passed("HTTP/1.1 204 No Content", "")},
			attack{name + " behind 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + more, passed("HTTP/1.1 304 Not Modified", "")},
			attack{"HEAD and " + name, ok("Content-Length: 5") + more, passed("HTTP/1.1 200 OK", "")},
			attack{"HEAD with chunks and " + name, ok(coded) + more, passed("HTTP/1.1 200 OK", "")})
	}
	return append(all,
		attack{"204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", passed("HTTP/1.1 204 No Content", "")},
		attack{"204 with chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n", passed("HTTP/1.1 204 No Content", "")},
		attack{"304 with chunks", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n", passed("HTTP/1.1 304 Not Modified", "")},
		attack{"205 with a length", "HTTP/1.1 205 Reset\r\nContent-Length: 5\r\n\r\nhello" + evil, passed("HTTP/1.1 205 Reset", "hello")},
		attack{"trailers that frame", ok(coded) + "5\r\nhello\r\n0\r\nContent-Length: 4\r\nTransfer-Encoding: x\r\n\r\n" + evil, passed("HTTP/1.1 200 OK", "hello")},
		attack{"a length that Connection names", ok("Connection: Content-Length", "Content-Length: 5") + "hello" + evil, passed("HTTP/1.1 200 OK", "hello")},
		attack{"a coding that Connection names", ok("Connection: Transfer-Encoding", coded) + "5\r\nhello\r\n0\r\n\r\n" + evil, passed("HTTP/1.1 200 OK", "hello")},
		attack{"h2c that nobody asked for", ok("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 5") + "hello" + evil, passed("HTTP/1.1 200 OK", "hello")},
	)
}
