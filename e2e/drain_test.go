package e2e_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// drainAnswer is what /drain, /undrain and, among other things, /v1/status answer.
type drainAnswer struct {
	Draining  bool
	Deadline  *time.Time
	Remaining *struct {
		Connections, Requests int
		OldestSeconds         float64 `json:"oldest_seconds"`
	}
}

func (b *balancer) drains(method, path string) (answer drainAnswer) {
	b.w.Helper()
	status, text, err := b.ask(method, path, "")
	b.w.must(err)
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || answer.Remaining == nil {
		b.w.Fatalf("%s %s: status %d, %v: %s", method, path, status, err, text)
	}
	return answer
}

// wantHealth expects a status of /healthz, and a word in its answer.
func (b *balancer) wantHealth(status int, says string) {
	b.w.Helper()
	if got, text, err := b.ask("GET", "/healthz", ""); err != nil || got != status || !strings.Contains(text, says) {
		b.w.Errorf("/healthz: %d %s %v, want %d and %q", got, text, err, status, says)
	}
}

// TestDrainUnderLoad: drains come and go under load without a failed request or a
// connection that notices; at the deadline both sides of every WebSocket are told, but
// for those in the middle of a frame.
func TestDrainUnderLoad(t *testing.T) {
	overEachIO(t, 60*time.Second, func(w *world, io string) {
		const chats = 5
		ended := make(chan error, 2*chats)
		config := httpAndTCP([]any{w.webSocketServer(ended)}, weighted(w.redises("one")), "least_connections")
		config["io"] = io
		b := w.balance(config)
		var open []*websocket.Conn
		for range chats {
			open = append(open, w.dialWebSocket(b.listeners["web"]))
		}
		redis := w.dial(b.listeners["db"])
		lines := bufio.NewReader(redis)
		talk := func(what string) {
			t.Helper()
			for _, conn := range open {
				wantMessageBack(w, conn, websocket.MessageText, []byte(what))
			}
			_, _, err := redisName(redis, lines)
			w.must(err)
		}
		loads := []*load{
			w.load("http keep-alive", b.listeners["web"], 6, keepAlive),
			w.load("http close", b.listeners["web"], 3, closing),
			w.load("tcp short", b.listeners["db"], 3, once(redisName)),
		}
		goOn := func() {
			for _, l := range loads {
				l.more(100)
			}
		}
		for range 3 {
			goOn()
			if a := b.drains("POST", "/drain?timeout=1h"); !a.Draining || a.Remaining.Requests < chats || time.Until(*a.Deadline) < 50*time.Minute {
				t.Errorf("drained: %+v", a)
			}
			b.wantHealth(503, "draining")
			goOn()
			talk("draining")
			if a := b.drains("POST", "/undrain"); a.Draining {
				t.Errorf("undrained: %+v", a)
			}
			b.wantHealth(200, "ok")
			talk("undrained")
		}
		for _, l := range loads {
			l.stop()
			l.wantNoFailure()
		}

		half := w.halfFrame(b.listeners["web"])
		b.drains("POST", "/drain?timeout=200ms")
		told := make(chan error, chats)
		for _, conn := range open {
			go func() {
				_, _, err := conn.Read(w.ctx)
				told <- err
			}()
		}
		for range chats {
			if err := receive(w, "a client is told", told); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("a client sees %v", err)
			}
		}
		if rest := half(); rest != "\x88\x02\x03\xe9" {
			t.Errorf("the client that is in the middle of a frame gets %x", rest)
		}
		statuses := map[websocket.StatusCode]int{}
		for range chats + 1 {
			statuses[websocket.CloseStatus(receive(w, "a server is told", ended))]++
		}
		if statuses[websocket.StatusGoingAway] != chats || len(statuses) != 2 {
			t.Errorf("servers see these statuses: %v", statuses)
		}
		w.eventually("nothing remains", func() bool { a := b.drains("GET", "/v1/status"); return a.Draining && a.Remaining.Connections == 0 })
		b.wantStop(2 * time.Second)
	})
}

// halfFrame opens a WebSocket and sends half a frame. It returns what reads it to its
// end.
func (w *world) halfFrame(address string) (rest func() string) {
	w.Helper()
	conn := w.dial(address)
	r := bufio.NewReader(conn)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: e2e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x82\x85\x00")
	if response, err := http.ReadResponse(r, nil); err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		w.Fatalf("got %+v, %v", response, err)
	}
	return func() string {
		w.Helper()
		text, err := io.ReadAll(r)
		if isTimeout(err) {
			w.Error("the connection stays open")
		}
		return string(text)
	}
}

// TestWebSocketsAreToldOfTheEnd: also when the balancer stops, and when their server is
// deleted by force.
func TestWebSocketsAreToldOfTheEnd(t *testing.T) {
	for name, end := range map[string]func(b *balancer, origin string){
		"stop":   func(b *balancer, _ string) { b.wantStop(5 * time.Second) },
		"delete": func(b *balancer, origin string) { b.change("DELETE", "/delete_server?force=true", "web", origin, 200) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 30*time.Second)
			ended := make(chan error, 1)
			origin := w.webSocketServer(ended)
			config := httpOnly(origin)
			config["shutdown_timeout"] = "200ms"
			b := w.balance(config)
			conn := w.dialWebSocket(b.listeners["web"])
			wantMessageBack(w, conn, websocket.MessageText, []byte("before"))
			told := make(chan error, 1)
			go func() {
				_, _, err := conn.Read(w.ctx)
				told <- err
			}()
			end(b, origin)
			for side, err := range map[string]error{"client": receive(w, "the client is told", told), "server": receive(w, "the server is told", ended)} {
				if websocket.CloseStatus(err) != websocket.StatusGoingAway {
					t.Errorf("the %s sees %v", side, err)
				}
			}
		})
	}
}
