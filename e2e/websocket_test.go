package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const mebibyte = 1 << 20

// webSocketServer echoes messages, and closes when one asks for it. How its
// connections end goes to ended.
func (w *world) webSocketServer(ended chan<- error) string {
	return w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return // a health check
		}
		conn, err := websocket.Accept(rw, r, nil)
		if err != nil {
			ended <- err
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(2 * mebibyte)
		for {
			kind, message, err := conn.Read(w.ctx)
			if err != nil {
				ended <- err
				return
			}
			if string(message) == "close" {
				conn.Close(4002, "as you wish")
				return
			}
			if conn.Write(w.ctx, kind, message) != nil {
				return
			}
		}
	})
}

func (w *world) dialWebSocket(address string) *websocket.Conn {
	w.Helper()
	conn, _, err := websocket.Dial(w.ctx, "ws://"+address+"/chat", nil)
	w.must(err)
	w.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(2 * mebibyte)
	return conn
}

// wantMessageBack sends a message and reads it back.
func wantMessageBack(w *world, conn *websocket.Conn, kind websocket.MessageType, message []byte) {
	w.Helper()
	w.must(conn.Write(w.ctx, kind, message))
	gotKind, got, err := conn.Read(w.ctx)
	if err != nil || gotKind != kind || !bytes.Equal(got, message) {
		w.Fatalf("sent %s of %d bytes, got %s of %d bytes, %v", kind, len(message), gotKind, len(got), err)
	}
}

// TestWebSocket: messages small and large come back through an http listener,
// close codes arrive on the other side, and a connection outlives changes to
// other servers of its pool.
func TestWebSocket(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	ended := make(chan error, 10)
	origin := w.webSocketServer(ended)
	b := w.balance(httpAndTCP([]any{origin}, []any{origin}, "least_connections"))
	conn := w.dialWebSocket(b.listeners["web"])
	for i := range 100 {
		wantMessageBack(w, conn, websocket.MessageText, fmt.Appendf(nil, "message %d", i))
	}
	large := bytes.Repeat([]byte{0, 1, 2, 0xff}, mebibyte/4)
	wantMessageBack(w, conn, websocket.MessageBinary, large)

	other := w.nginx("other")
	b.upload("web", other.address)
	wantMessageBack(w, conn, websocket.MessageText, []byte("a server was uploaded"))
	b.delete("web", other.address)
	b.awaitGone("web", other.address)
	wantMessageBack(w, conn, websocket.MessageText, []byte("and deleted"))
	if s, _ := b.server("web", origin); s.Active != 1 {
		t.Errorf("active is %d, want 1 for the open WebSocket", s.Active)
	}

	w.must(conn.Close(4001, "done"))
	if err := receive(w, "the server sees the close", ended); websocket.CloseStatus(err) != 4001 {
		t.Errorf("the client closed with 4001, the server saw %v", err)
	}
	conn = w.dialWebSocket(b.listeners["web"])
	w.must(conn.Write(w.ctx, websocket.MessageText, []byte("close")))
	if _, _, err := conn.Read(w.ctx); websocket.CloseStatus(err) != 4002 {
		t.Errorf("the server closed with 4002, the client saw %v", err)
	}
	b.awaitServer("web", origin, "idle again", func(s server) bool { return s.Active == 0 })
}

// TestWebSocketOfADeletedServer goes on until it is closed or forced.
func TestWebSocketOfADeletedServer(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	ended := make(chan error, 10)
	origin := w.webSocketServer(ended)
	b := w.balance(httpOnly(origin))
	conn := w.dialWebSocket(b.listeners["web"])
	wantMessageBack(w, conn, websocket.MessageText, []byte("before"))
	b.delete("web", origin)
	wantMessageBack(w, conn, websocket.MessageText, []byte("draining"))
	b.change("DELETE", "/delete_server?force=true", "web", origin, 200)
	b.awaitGone("web", origin)
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	if _, _, err := conn.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("after force the connection is still open: %v", err)
	}
}
