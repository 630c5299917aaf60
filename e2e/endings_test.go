package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// obedientServer does what each line asks for: "say N" sends N bytes, "bye N"
// also closes, "reset" resets. It keeps the connection when the client has sent
// its end after "stay".
func (w *world) obedientServer() string {
	w.Helper()
	return w.tcpServer(func(conn *net.TCPConn) {
		stay := false
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			word, number, _ := strings.Cut(lines.Text(), " ")
			n, _ := strconv.Atoi(number)
			conn.Write(bytes.Repeat([]byte("."), n))
			switch word {
			case "stay":
				stay = true
			case "bye":
				return
			case "reset":
				conn.SetLinger(0)
				return
			}
		}
		if stay {
			<-w.ended()
		}
	})
}

// An ending is a listener's connection that is brought to its end, and how the
// access log and the counts of the listener are to show it.
type ending struct {
	listener string
	play     func(w *world, conn *net.TCPConn)
	want     string // how it ended
	relayed  bool
	sent     int64 // bytes to the server
	got      int64 // bytes to the client
}

// tell sends lines and reads n bytes of answer.
func (w *world) tell(conn net.Conn, lines string, n int) {
	w.Helper()
	_, err := io.WriteString(conn, lines)
	w.must(err)
	_, err = io.ReadFull(conn, make([]byte, n))
	w.must(err)
}

// endings are all that the config of recorded allows for on one connection.
func endings() []ending {
	nothing := func(w *world, conn *net.TCPConn) { w.wantClosed(conn) }
	says := func(text string) func(*world, *net.TCPConn) {
		return func(w *world, conn *net.TCPConn) {
			w.must(ignore(io.WriteString(conn, text)))
			w.wantClosed(conn)
		}
	}
	return []ending{
		{"plain", func(w *world, conn *net.TCPConn) {
			w.tell(conn, "say 1000\nsay 234\n", 1234)
			w.must(conn.CloseWrite())
			w.wantClosed(conn)
		}, "client_closed", true, 17, 1234},
		{"plain", func(w *world, conn *net.TCPConn) {
			w.tell(conn, "bye 2000000\n", 2000000)
			w.wantClosed(conn)
		}, "server_closed", true, 12, 2000000},
		{"plain", func(w *world, conn *net.TCPConn) {
			w.tell(conn, "say 10\n", 10)
			w.must(conn.SetLinger(0))
			w.must(conn.Close())
		}, "client_reset", true, 7, 10},
		{"plain", func(w *world, conn *net.TCPConn) {
			w.tell(conn, "say 10\n", 10)
			w.must(ignore(io.WriteString(conn, "reset\n")))
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				w.Errorf("the client of a server that resets saw %v", err)
			}
		}, "server_reset", true, 13, 10},
		{"idle", func(w *world, conn *net.TCPConn) {
			w.tell(conn, "say 10\n", 10)
			io.Copy(io.Discard, conn)
		}, "idle", true, 7, 10},
		{"half", func(w *world, conn *net.TCPConn) {
			w.tell(conn, "stay 10\n", 10)
			w.must(conn.CloseWrite())
			io.Copy(io.Discard, conn)
		}, "half_closed_idle", true, 8, 10},
		{"none", nothing, "no_server_ready", false, 0, 0},
		{"refused", nothing, "connect_failed", false, 0, 0},
		{"routed", says("\x16\x03\x01\x00\x02\x01\x00"), "no_hello", false, 0, 0},
		{"headed", says("no header\r\n"), "bad_proxy_header", false, 0, 0},
	}
}

// recorded is a config with a listener for each kind of end, all in one log.
func recorded(w *world, io, log string) object {
	tcp := func(name, pool string, more object) object {
		l := object{"name": name, "protocol": "tcp", "address": "127.0.0.1:0", "pool": pool, "access_log": log}
		maps.Copy(l, more)
		return l
	}
	routed := tcp("routed", "", object{"routes": []object{{"sni": "www.example.test", "pool": "main"}}, "hello_timeout": "300ms"})
	delete(routed, "pool")
	return object{
		"io":               io,
		"shutdown_timeout": "500ms",
		"listeners": []object{
			tcp("plain", "main", nil),
			tcp("idle", "main", object{"idle_timeout": "200ms"}),
			tcp("half", "main", object{"half_closed_timeout": "200ms"}),
			tcp("none", "empty", nil),
			tcp("refused", "refusing", nil),
			tcp("headed", "main", object{"accept_proxy": object{"from": []string{"127.0.0.1"}}}),
			tcp("single", "main", object{"max_connections_per_client": 1}),
			tcp("full", "full", nil),
			tcp("queue", "queue", nil),
			tcp("drained", "drained", nil),
			routed,
		},
		"pools": []object{
			{"name": "main", "servers": []string{w.obedientServer()}},
			{"name": "empty", "servers": []string{}},
			{"name": "refusing", "servers": []string{w.freeAddress()}, "health": false},
			{"name": "full", "servers": []object{{"address": w.obedientServer(), "max_connections": 1}}, "health": false},
			{"name": "queue", "servers": []object{{"address": w.obedientServer(), "max_connections": 1}}, "health": false,
				"queue": object{"length": 1, "timeout": "300ms"}},
			{"name": "drained", "servers": []string{w.obedientServer()}},
		},
	}
}

// TestAccessLogAndCounts: every connection has one line in the access log, which
// says how it ended and has its bytes to the last, and the counts of the admin
// API are the sums of these lines.
func TestAccessLogAndCounts(t *testing.T) {
	overEachIO(t, 30*time.Second, func(w *world, io string) {
		log := filepath.Join(w.TempDir(), "access.log")
		b := w.startBalancer(raceBinary, recorded(w, io, log))
		b.awaitServer("main", b.pools()["main"][0].Address, "ready", ready)
		b.awaitServer("drained", b.pools()["drained"][0].Address, "ready", ready)
		for _, e := range endings() {
			conn := w.dial(b.listeners[e.listener])
			e.play(w, conn)
			conn.Close()
			e.wantRecord(w, b, w.awaitRecord(log, e.listener, conn.LocalAddr()))
		}
		w.wantRefusedWhileOneStays(b, log, "single", "client_limit")
		w.wantRefusedWhileOneStays(b, log, "full", "all_full")
		w.wantQueueEndings(b, log)
		w.wantDrained(b, log)
		wantSums(w, b, log)

		last := w.dial(b.listeners["plain"])
		w.tell(last, "stay 7\n", 7)
		b.wantStop(6 * time.Second)
		if r := w.awaitRecord(log, "plain", last.LocalAddr()); r.Ended != "drained" || *r.ToClient != 7 {
			w.Errorf("the record of the connection that the stop ended: %+v", r)
		}
	})
}

// wantRecord compares a record with what was done.
func (e ending) wantRecord(w *world, b *balancer, r record) {
	w.Helper()
	if r.Ended != e.want || r.DurationMS == nil || time.Since(r.Time).Abs() > time.Minute {
		w.Errorf("listener %s: ended %q at %s, want %q just now", e.listener, r.Ended, r.Time, e.want)
	}
	if !e.relayed {
		if r.ToUpstream != nil || r.ToClient != nil || r.ConnectMS != nil || r.FirstByte != nil {
			w.Errorf("%s: %+v; want nothing of a relay", e.want, r)
		}
		return
	}
	if r.ToUpstream == nil || *r.ToUpstream != e.sent || r.ToClient == nil || *r.ToClient != e.got {
		w.Errorf("%s: %s; want %d bytes to the server and %d to the client", e.want, asJSON(r), e.sent, e.got)
	}
	server := b.pools()["main"][0].Address
	if r.Server == nil || *r.Server != server || r.Pool == nil || *r.Pool != "main" || r.Tried == nil || *r.Tried != 1 || r.SNI != nil {
		w.Errorf("%s: %s; want server %s of pool main, the first that was tried", e.want, asJSON(r), server)
	}
	if r.ConnectMS == nil || r.FirstByte == nil || *r.DurationMS < *r.ConnectMS+*r.FirstByte {
		w.Errorf("%s: %s; want the times, the whole no less than its parts", e.want, asJSON(r))
	}
}

func asJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// wantRefusedWhileOneStays opens a connection that fills a listener, and one more.
func (w *world) wantRefusedWhileOneStays(b *balancer, log, listener, want string) {
	w.Helper()
	first := w.dial(b.listeners[listener])
	w.tell(first, "say 1\n", 1)
	second := w.dial(b.listeners[listener])
	w.wantClosed(second)
	if r := w.awaitRecord(log, listener, second.LocalAddr()); r.Ended != want {
		w.Errorf("listener %s: the second connection ended %q, want %q", listener, r.Ended, want)
	}
	w.must(first.CloseWrite())
	w.wantClosed(first)
	w.awaitRecord(log, listener, first.LocalAddr())
}

// wantQueueEndings fills a server and its queue of one.
func (w *world) wantQueueEndings(b *balancer, log string) {
	w.Helper()
	first := w.dial(b.listeners["queue"])
	w.tell(first, "say 1\n", 1)
	second, third := w.dial(b.listeners["queue"]), w.dial(b.listeners["queue"])
	w.wantClosed(second)
	w.wantClosed(third)
	got := map[string]int{}
	for _, conn := range []net.Conn{second, third} {
		got[w.awaitRecord(log, "queue", conn.LocalAddr()).Ended]++
	}
	if want := map[string]int{"queue_full": 1, "queue_timeout": 1}; !maps.Equal(got, want) {
		w.Errorf("with a server and its queue full connections ended %v, want %v", got, want)
	}
	w.must(first.CloseWrite())
	w.wantClosed(first)
	w.awaitRecord(log, "queue", first.LocalAddr())
}

// wantDrained deletes a server by force: its connection ends, and what was
// counted of it stays in the listener's counts.
func (w *world) wantDrained(b *balancer, log string) {
	w.Helper()
	conn := w.dial(b.listeners["drained"])
	w.tell(conn, "say 321\n", 321)
	address := b.pools()["drained"][0].Address
	status, text, err := b.ask("DELETE", "/delete_server?pool=drained&force=true&server="+address, "")
	if err != nil || status != 200 {
		w.Fatalf("delete by force: status %d, %v: %s", status, err, text)
	}
	io.Copy(io.Discard, conn)
	if r := w.awaitRecord(log, "drained", conn.LocalAddr()); r.Ended != "drained" || *r.ToClient != 321 {
		w.Errorf("the record of the server that was deleted by force: %s", asJSON(r))
	}
	b.awaitGone("drained", address)
}

// wantSums compares the counts of the admin API with the records.
func wantSums(w *world, b *balancer, log string) {
	w.Helper()
	listeners, main := map[string]*traffic{}, &traffic{Ends: map[string]int64{}}
	for _, r := range w.accessLog(log) {
		l := listeners[r.Listener]
		if l == nil {
			l = &traffic{Ends: map[string]int64{}}
			listeners[r.Listener] = l
		}
		l.add(r)
		if r.ConnectMS != nil && *r.Pool == "main" {
			main.add(r)
		}
	}
	if len(listeners) != len(b.listeners) {
		w.Errorf("the log has records of %d listeners, want all %d", len(listeners), len(b.listeners))
	}
	for name, want := range listeners {
		wantTraffic(w, "listener "+name, func() traffic { return b.traffic(name) }, *want)
	}
	wantTraffic(w, "the server of pool main", func() traffic { return b.serverTraffic("main") }, *main)
}

// add counts the connection of a record.
func (t *traffic) add(r record) {
	t.Accepted++
	t.Ends[r.Ended]++
	if r.ConnectMS != nil {
		t.ToUpstream += *r.ToUpstream
		t.ToClient += *r.ToClient
		t.Connect.Count++
		t.Duration.Count++
	}
	if r.FirstByte != nil {
		t.FirstByte.Count++
	}
}

// wantTraffic waits until the counts are as wanted: a connection is counted a
// moment after its record. Of durations it compares how many there are.
func wantTraffic(w *world, what string, ask func() traffic, want traffic) {
	w.Helper()
	var got traffic
	defer func() {
		if w.ctx.Err() != nil {
			w.Errorf("the admin API says of %s\n%+v, the records are\n%+v", what, got, want)
		}
	}()
	w.eventually("the counts of "+what+" are those of the records", func() bool {
		got = ask()
		for _, d := range []*durations{&got.Connect, &got.FirstByte, &got.Duration} {
			if d.Count > 0 && (d.P50MS <= 0 || d.P99MS < d.P50MS) {
				w.Errorf("%s has the durations %+v", what, *d)
			}
			d.P50MS, d.P99MS = 0, 0
		}
		return reflect.DeepEqual(got, want)
	})
}
