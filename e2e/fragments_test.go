package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// fragmentServer echoes messages in fragments, as they come. A message "close N"
// has it close with the code N, "die" without a word. What its connections end
// with goes to ended.
func (w *world) fragmentServer(ended chan<- error) string {
	return w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(rw, r, nil)
		if err != nil {
			ended <- err
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(-1)
		for err == nil {
			err = echoFragments(w, conn)
		}
		ended <- err
	})
}

func echoFragments(w *world, conn *websocket.Conn) error {
	kind, from, err := conn.Reader(w.ctx)
	if err != nil {
		return err
	}
	if kind == websocket.MessageText {
		text, err := io.ReadAll(from)
		if err != nil {
			return err
		}
		if string(text) == "die" {
			return conn.CloseNow()
		}
		var code int
		fmt.Sscanf(string(text), "close %d", &code)
		return conn.Close(websocket.StatusCode(code), "as you wish")
	}
	to, err := conn.Writer(w.ctx, kind)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{to}, from, make([]byte, 100<<10)); err != nil {
		return err
	}
	return to.Close()
}

// TestFragmentsOfWebSocket: long messages in fragments of all sizes come back while
// they are being sent, with pings between the fragments.
func TestFragmentsOfWebSocket(t *testing.T) {
	overEachIO(t, 40*time.Second, func(w *world, io_ string) {
		config := httpOnly(w.fragmentServer(make(chan error, 10)))
		config["io"] = io_
		poolOf(config)["health"] = false
		b := w.balance(config)
		conn := w.dialWebSocket(b.listeners["web"])
		conn.SetReadLimit(-1)
		for _, size := range []int{1, 125, 126, 4 << 10, 65535, 65536, 3 << 20} {
			message := someNoise(min(10*mebibyte, 500*size))
			sent := make(chan error, 1)
			go func() { sent <- sendFragments(w, conn, message, size) }()
			_, got, err := conn.Read(w.ctx)
			w.must(err)
			w.must(<-sent)
			if !bytes.Equal(got, message) {
				w.Errorf("in fragments of %d bytes: %d bytes came back, want the %d that were sent", size, len(got), len(message))
			}
		}
		w.must(conn.CloseNow())
		b.wantIdle()
	})
}

func sendFragments(w *world, conn *websocket.Conn, message []byte, size int) error {
	to, err := conn.Writer(w.ctx, websocket.MessageBinary)
	if err != nil {
		return err
	}
	for rest := message; len(rest) > 0; {
		n := min(size, len(rest))
		if _, err := to.Write(rest[:n]); err != nil {
			return err
		}
		if rest = rest[n:]; len(rest) == len(message)/2 {
			if err := conn.Ping(w.ctx); err != nil {
				return err
			}
		}
	}
	return to.Close()
}

// TestCloseCodesOfWebSocket: each code arrives at the other side, whoever closes,
// and a connection that ends without one looks like that.
func TestCloseCodesOfWebSocket(t *testing.T) {
	overEachIO(t, 20*time.Second, func(w *world, io string) {
		ended := make(chan error, 10)
		config := httpOnly(w.fragmentServer(ended))
		config["io"] = io
		poolOf(config)["health"] = false
		b := w.balance(config)
		for _, code := range []websocket.StatusCode{1000, 1001, 1011, 3000, 4999} {
			conn := w.dialWebSocket(b.listeners["web"])
			w.must(conn.Close(code, "done"))
			if err := receive(w, "the server sees the end", ended); websocket.CloseStatus(err) != code {
				w.Errorf("the client closed with %d, the server saw %v", code, err)
			}
			conn = w.dialWebSocket(b.listeners["web"])
			w.must(conn.Write(w.ctx, websocket.MessageText, fmt.Appendf(nil, "close %d", code)))
			if _, _, err := conn.Read(w.ctx); websocket.CloseStatus(err) != code {
				w.Errorf("the server closed with %d, the client saw %v", code, err)
			}
			receive(w, "the server has ended", ended)
		}
		conn := w.dialWebSocket(b.listeners["web"])
		w.must(conn.CloseNow())
		if err := receive(w, "the server sees the end", ended); err == nil || websocket.CloseStatus(err) != -1 {
			w.Errorf("the client left without a word, the server saw %v", err)
		}
		conn = w.dialWebSocket(b.listeners["web"])
		w.must(conn.Write(w.ctx, websocket.MessageText, []byte("die")))
		if _, _, err := conn.Read(w.ctx); err == nil || websocket.CloseStatus(err) != -1 {
			w.Errorf("the server left without a word, the client saw %v", err)
		}
		conn.CloseNow()
		b.wantIdle()
	})
}
