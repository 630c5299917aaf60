package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
)

// bodies is an http server that sends back the body of each request.
func (w *world) bodies() string {
	return w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			rw.Header().Set("Content-Length", fmt.Sprint(len(body)))
			rw.Write(body)
		}
	})
}

// posting sends so many bytes and expects them back.
func posting(n int) talk {
	body := bytes.Repeat([]byte("0123456789"), n/10+1)[:n]
	head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: %d\r\n\r\n", n)
	return func(conn net.Conn, r *bufio.Reader) (by string, again bool, err error) {
		sent := make(chan error, 1)
		go func() {
			_, err := conn.Write(append([]byte(head), body...))
			sent <- err
		}()
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			return "", false, fmt.Errorf("reading the head: %w", err)
		}
		defer response.Body.Close()
		got, err := io.ReadAll(response.Body)
		if err != nil {
			return "", false, fmt.Errorf("reading the body: %w", err)
		}
		if err := <-sent; err != nil {
			return "", false, fmt.Errorf("sending: %w", err)
		}
		if response.StatusCode != 200 || !bytes.Equal(got, body) {
			return "", false, fmt.Errorf("status %d with %d bytes, want %d", response.StatusCode, len(got), n)
		}
		return "", !response.Close, nil
	}
}

// An idler is a client that keeps one connection and asks seldom.
type idler struct {
	w     *world
	conn  net.Conn
	in    *bufio.Reader
	talk  talk
	asked int64
}

func (w *world) idler(address string) *idler {
	w.Helper()
	i := &idler{w: w, conn: w.dial(address), talk: posting(100)}
	i.in = bufio.NewReader(i.conn)
	i.ask()
	return i
}

func (i *idler) ask() {
	i.w.Helper()
	_, again, err := i.talk(i.conn, i.in)
	i.w.must(err)
	if i.asked++; !again {
		i.w.Fatal("the connection is not kept")
	}
}
