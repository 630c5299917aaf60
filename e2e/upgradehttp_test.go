package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// bookOrigin echoes bodies, and sends a mebibyte for /large.
func (w *world) bookOrigin() string {
	w.Helper()
	large := newPatternText(mebibyte)
	return w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/large":
			rw.Write(large)
		case r.Method == http.MethodPost:
			http.NewResponseController(rw).EnableFullDuplex()
			io.Copy(rw, r.Body)
		default:
			io.WriteString(rw, "small")
		}
	})
}

func newPatternText(size int64) []byte {
	text, _ := io.ReadAll(newPattern(size))
	return text
}

// exchange is a talk of one request whose answer has that body.
func exchange(head string, body, want []byte) talk {
	request := append([]byte(head+"\r\n\r\n"), body...)
	return func(conn net.Conn, r *bufio.Reader) (by string, again bool, err error) {
		sent := make(chan error, 1)
		go func() { _, err := conn.Write(request); sent <- err }()
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			conn.Close()
			return "", false, fmt.Errorf("reading the head: %w, %w", err, <-sent)
		}
		defer response.Body.Close()
		got, err := io.ReadAll(response.Body)
		switch {
		case err != nil:
			return "", false, fmt.Errorf("reading the body: %w", err)
		case response.StatusCode != 200:
			return "", false, fmt.Errorf("status %d: %s", response.StatusCode, strings.TrimSpace(string(got)))
		case !bytes.Equal(got, want):
			return "", false, errors.New("another body than expected")
		}
		return "", !response.Close, <-sent
	}
}

// chat echoes on a WebSocket without a pause until it is told to stop, and returns how
// it went.
func (w *world) chat(address string, stop <-chan struct{}, echoed *atomic.Int64) <-chan error {
	w.Helper()
	conn := w.dialWebSocket(address)
	over := make(chan error, 1)
	go func() {
		for i := 0; !isClosed(stop); i++ {
			said := bytes.Repeat([]byte{byte(i)}, 1+i*7919%20000)
			if err := conn.Write(w.ctx, websocket.MessageBinary, said); err != nil {
				over <- fmt.Errorf("message %d: %w", i, err)
				return
			}
			ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
			_, got, err := conn.Read(ctx)
			cancel()
			if err != nil || !bytes.Equal(got, said) {
				over <- fmt.Errorf("message %d: %d bytes of %d came back: %v", i, len(got), len(said), err)
				return
			}
			echoed.Add(1)
			select {
			case <-stop:
			case <-time.After(time.Duration(i%50) * time.Millisecond):
			}
		}
		over <- conn.Close(websocket.StatusNormalClosure, "")
	}()
	return over
}

// TestRequestsOverUpgrades: through twenty upgrades in a row no request fails, on new
// connections or kept ones, small or large; WebSockets that talk go on, and so do those
// that are silent, and the connections of clients that ask for nothing.
func TestRequestsOverUpgrades(t *testing.T) {
	const upgrades, idles, chats = 20, 50, 10
	overEachIO(t, 4*time.Minute, func(w *world, io string) {
		ended := make(chan error, 100)
		config := httpAndTCP([]any{w.bookOrigin(), w.bookOrigin()}, []any{w.webSocketServer(ended)}, "least_connections")
		config["io"] = io
		config["listeners"] = append(config["listeners"].([]object),
			object{"name": "chat", "protocol": "http", "address": "127.0.0.1:0", "pool": "db"},
			object{"name": "redis", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "redis"})
		config["pools"] = append(config["pools"].([]object), object{"name": "redis", "servers": weighted(w.redises("one", "two"))})
		config["shutdown_timeout"] = "5m"
		listenerOf(config)["header_timeout"], listenerOf(config)["idle_timeout"] = "10m", "10m"
		for _, pool := range config["pools"].([]object) {
			pool["health"] = false
		}
		l := w.found(raceBinary, w.fixed(config))
		web := l.listeners["web"]
		body, large := newPatternText(20<<10), newPatternText(mebibyte)
		post := fmt.Sprintf("POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: %d", len(body))
		loads := []*load{
			w.load("small, kept", web, 8, exchange("GET / HTTP/1.1\r\nHost: e2e", nil, []byte("small"))),
			w.load("small, new", web, 2, exchange("GET / HTTP/1.1\r\nHost: e2e\r\nConnection: close", nil, []byte("small"))),
			w.load("small, closed by the client", web, 2, once(exchange("GET / HTTP/1.1\r\nHost: e2e", nil, []byte("small")))),
			w.load("post, kept", web, 3, exchange(post, body, body)),
			w.load("post, new", web, 1, exchange(post+"\r\nConnection: close", body, body)),
			w.load("large, kept", web, 1, exchange("GET /large HTTP/1.1\r\nHost: e2e", nil, large)),
			w.load("large, new", web, 1, exchange("GET /large HTTP/1.1\r\nHost: e2e\r\nConnection: close", nil, large)),
			w.load("post large", web, 1, exchange(fmt.Sprintf("POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: %d", len(large)), large, large)),
		}
		relayed := []*load{
			w.load("tcp, kept", l.listeners["redis"], 3, redisName),
			w.load("tcp, new", l.listeners["redis"], 3, once(redisName)),
		}
		var idle []*keeper
		for range idles {
			k := w.keeps(w.dial(web))
			k.wantAnswer("/", "small")
			idle = append(idle, k)
		}
		half := w.dial(web) // has begun a request
		w.must(ignore(half.Write([]byte("GET / HTTP/1.1\r\nHo"))))
		silent := w.dialWebSocket(l.listeners["chat"])
		var echoed atomic.Int64
		stop := make(chan struct{})
		var talks []<-chan error
		for range chats {
			talks = append(talks, w.chat(l.listeners["chat"], stop, &echoed))
		}

		for i := range upgrades {
			for _, load := range slices.Concat(loads, relayed) {
				load.more(1)
			}
			before := echoed.Load()
			if i%2 == 0 {
				l.upgraded()
			} else {
				l.upgradedBySignal()
			}
			if i%4 == 3 {
				l.awaitHeir()
				idle[i].wantAnswer("/", "small")
			}
			w.eventually("messages are echoed", func() bool { return echoed.Load() > before+chats })
		}
		l.awaitHeir()
		for _, load := range slices.Concat(loads, relayed) {
			load.settle()
			load.stop()
			load.wantNoFailure()
		}
		for _, k := range idle {
			k.wantAnswer("/", "small")
		}
		if got := w.keeps(half).send("st: e2e\r\n\r\n"); got.StatusCode != 200 {
			w.Errorf("a request whose end came later is answered %d", got.StatusCode)
		}
		wantMessageBack(w, silent, websocket.MessageText, []byte("still here"))
		w.must(silent.Close(websocket.StatusNormalClosure, ""))
		close(stop)
		for _, over := range talks {
			if err := receive(w, "a talk is over", over); err != nil {
				w.Errorf("a WebSocket: %v", err)
			}
		}
		if code := l.code(); code != 0 {
			w.Errorf("the first process ended with exit code %d", code)
		}
		w.eventually("nothing is active", func() bool { return sum(active(l.balancer, "web"))+sum(active(l.balancer, "db")) == 0 })
		asked := int64(2*idles + upgrades/4 + 1)
		for _, load := range loads {
			asked += load.ok.Load()
		}
		if whole, _ := l.httpTraffic(); whole.Requests != asked || whole.Statuses["2xx"] != asked {
			w.Errorf("of the listener is counted %+v, want %d requests", whole, asked)
		}
	})
}
