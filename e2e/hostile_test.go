package e2e_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// An attack is bytes that some programs on the way to a server read in one way
// and some in another. Whatever fulcrum makes of them has to be one thing, and
// what the client sends behind them is never taken for something else.
type attack struct {
	name string
	sent string
	want outcome
}

// An outcome is what has to become of an attack.
type outcome struct {
	requests []string // what the server sees, as told has them, and answers
	status   int      // then the client is told this, and the connection is closed
	last     bool     // it is closed behind the last answer; the attack announces that
	begun    bool     // the server may see the beginning of a request, and no more
	ends     bool     // the client ends its direction, and is cut off: all it sent is the beginning of a body
	alone    bool     // no marker is sent
}

// served: the server sees one request, and the one that comes behind it.
func served(line, body string) outcome {
	return outcome{requests: []string{line + fmt.Sprintf(" %q", body)}}
}

// servedLast: the server sees one request, and the connection is closed.
func servedLast(line, body string) outcome {
	o := served(line, body)
	o.last = true
	return o
}

// refused: the server sees nothing.
func refused(status int) outcome { return outcome{status: status} }

var (
	badHead    = refused(400)
	badBody    = outcome{status: 400, begun: true}
	unfinished = outcome{begun: true, ends: true}
)

// patience is how long an attack may take.
const patience = 15 * time.Second

// marker is the request that a client sends behind each attack.
const marker = "GET /marker HTTP/1.1\r\nHost: marker\r\nConnection: close\r\n\r\n"

// get, post and more are requests to be added to: the lines are fields.
func get(lines ...string) string  { return more("GET /a HTTP/1.1\r\nHost: h\r\n", lines) }
func post(lines ...string) string { return more("POST /a HTTP/1.1\r\nHost: h\r\n", lines) }

func more(start string, lines []string) string {
	for _, line := range lines {
		start += line + "\r\n"
	}
	return start + "\r\n"
}

// odd are bytes that some programs skip, cut a text at, or take for white space,
// for the end of a line or for a separator. None may stand in a name.
var odd = func() (all []string) {
	for c := range 0x21 {
		all = append(all, string(rune(c)))
	}
	return append(all, "\x7f", "\x80", "\x85", "\xa0", "\xad", "\xff", "\u0085", "\u00a0", "\u00ad", "\u200b", "\u2028", "\u3000", "\ufeff",
		"\r\r", "\n\r", "\n\n", "\"", ",", ";", "(", "@", "{", "=", "/", "\\")
}()

func isBlank(s string) bool { return s == " " || s == "\t" }

// isText reports whether bytes may stand in the value of a field.
func isText(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

// isVisible reports whether bytes are taken as a part of a target.
func isVisible(s string) bool { return isText(s) && !isBlank(s) }

// everywhere puts each of the odd bytes where a template has a "~", as an attack of
// its own.
func everywhere(name, template string, want func(odd string) outcome) (all []attack) {
	for _, o := range odd {
		all = append(all, attack{fmt.Sprintf("%s %q", name, o), strings.ReplaceAll(template, "~", o), want(o)})
	}
	return all
}

// always is what becomes of odd bytes where none may stand.
func always(o outcome) func(string) outcome { return func(string) outcome { return o } }

// when is what becomes of odd bytes that are harmless in a place if harmless says so.
func when(harmless func(string) bool, then, otherwise outcome) func(string) outcome {
	return func(odd string) outcome {
		if harmless(odd) {
			return then
		}
		return otherwise
	}
}

// TestHostileRequests: each attack is refused, or reaches the server as one
// request that all read alike, and the next one on the connection is not shifted.
// Over io_uring the lines come in pieces, CR and LF apart.
func TestHostileRequests(t *testing.T) {
	families := map[string][]attack{
		"framing-alone": framingAlone(post, served("POST /a", "0123456789"), badHead), "framing-twice": framingTwice(post, badHead),
		"lengths": lengths(), "codings": codings(),
		"names": names(), "underscored": underscored(), "start-lines": startLines(), "start-line-bytes": startLineBytes(), "targets": targets(), "hosts": hosts(),
		"lines": lines(), "connection": connectionOptions(), "bodies": bodies(), "chunks": chunks(), "chunk-bytes": chunkBytes(post(coded), served("POST /a", "hello"), badBody),
		"trailers": trailers(), "sizes": sizes(),
	}
	overEachIO(t, time.Minute, func(w *world, io string) {
		notaries := make(map[string]*notary)
		config := object{"io": io}
		for family := range families {
			n := w.notary()
			notaries[family] = n
			addHTTP(config, family, n.address())
		}
		b := w.balance(config)
		for family, attacks := range families {
			w.Run(family, func(t *testing.T) {
				t.Parallel()
				for _, a := range attacks {
					t.Run(a.name, func(t *testing.T) {
						w := &world{t, w.ctx}
						defer func() { w.compare(a, notaries[family].notes(w)) }()
						w.play(b.listeners[family], a, io == "io_uring")
					})
				}
			})
		}
	})
}

// addHTTP adds an http listener and its pool of one server that is not checked.
func addHTTP(config object, name, server string) {
	listeners, _ := config["listeners"].([]object)
	pools, _ := config["pools"].([]object)
	config["listeners"] = append(listeners, object{"name": name, "protocol": "http", "address": "127.0.0.1:0", "pool": name})
	config["pools"] = append(pools, object{"name": name, "servers": []string{server}, "health": false})
}

// all is what the server has to see, the marker included.
func (o outcome) all() []string {
	if o.status != 0 || o.last || o.ends {
		return o.requests
	}
	return append(slices.Clone(o.requests), served("GET /marker", "").requests...)
}

// play sends an attack and the marker, and wants the answers to what is served and
// nothing else.
func (w *world) play(address string, a attack, inPieces bool) {
	w.Helper()
	conn := w.dial(address)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	pieces := []string{a.sent + marker}
	if a.want.alone {
		pieces[0] = a.sent
	}
	if inPieces {
		pieces = strings.SplitAfter(pieces[0], "\r")
	}
	for _, piece := range pieces {
		if _, err := io.WriteString(conn, piece); err != nil {
			break // refused meanwhile
		}
	}
	if a.want.ends {
		conn.CloseWrite()
	}
	r := newStrictReader(conn)
	for _, request := range a.want.all() {
		line, _, _ := strings.Cut(request, ` "`)
		method, _, _ := strings.Cut(line, " ")
		m, err := r.answer(method)
		if err != nil || m.start != "HTTP/1.1 200 OK" || method != "HEAD" && m.body != line+" HTTP/1.1" {
			w.Fatalf("%.300q: the answer to %s is %q: %v", a.sent, request, m.raw, err)
		}
	}
	if a.want.status != 0 {
		m, err := r.answer("")
		if err != nil || !strings.HasPrefix(m.start, fmt.Sprintf("HTTP/1.1 %d ", a.want.status)) {
			w.Fatalf("%.300q: the answer is %q, want status %d: %v", a.sent, m.raw, a.want.status, err)
		}
	}
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		w.Fatalf("%.300q: behind the last answer there is %q, error %v", a.sent, rest, err)
	}
}

// compare wants the server to have seen what it had to, and nothing else.
func (w *world) compare(a attack, got notes) {
	w.Helper()
	for _, err := range got.wrong {
		w.Errorf("%.300q: the server was sent what can be read in two ways: %v", a.sent, err)
	}
	if want := a.want.all(); !slices.Equal(got.requests, want) {
		w.Errorf("%.300q: the server has seen %q, want %q", a.sent, got.requests, want)
	}
	if len(got.broken) > 0 && !a.want.begun {
		w.Errorf("%.300q: the server has seen the beginnings of requests %q", a.sent, got.broken)
	}
}
