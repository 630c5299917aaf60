package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// A departure is a client that leaves at some stage of its request.
type departure struct {
	name  string
	says  string                       // what the client sends
	takes int                          // how much of the body the server takes
	gives string                       // what it answers
	flows bool                         // and goes on sending
	reads func(in *bufio.Reader) error // what the client takes of that before it leaves
	whole bool                         // the request
}

const getIt = "GET / HTTP/1.1\r\nHost: e2e\r\n\r\n"

var departures = []departure{
	{name: "in its body", says: "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 10\r\n\r\nfive.", takes: 5},
	{name: "in its long body", says: fmt.Sprintf("POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: %d\r\n\r\n", len(longText)) + halfText, takes: len(halfText)},
	{name: "in a chunk", says: "POST / HTTP/1.1\r\nHost: e2e\r\n" + chunkedHead + "a\r\nfive.", takes: 5},
	{name: "between chunks", says: "POST / HTTP/1.1\r\nHost: e2e\r\n" + chunkedHead + "5\r\nfive.\r\n", takes: 5},
	{name: "in its trailers", says: "POST / HTTP/1.1\r\nHost: e2e\r\n" + chunkedHead + "5\r\nfive.\r\n0\r\nA: b\r\n", takes: 5},
	{name: "in its body after 103", says: "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 10\r\n\r\nfive.", takes: 5,
		gives: "HTTP/1.1 103 Early Hints\r\n\r\n", reads: wantEarly},
	{name: "in its body and an early answer", says: "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 10\r\n\r\nfive.", takes: 5,
		gives: okay + "Content-Length: 10\r\n\r\nfive.", reads: wantFive},
	{name: "while it waits", says: getIt, whole: true},
	{name: "while it waits after its body", says: "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 5\r\n\r\nfive.", takes: 5, whole: true},
	{name: "while it waits after 103", says: getIt, gives: "HTTP/1.1 103 Early Hints\r\n\r\n", reads: wantEarly, whole: true},
	{name: "in the answer", says: getIt, gives: okay + "Content-Length: 10\r\n\r\nfive.", reads: wantFive, whole: true},
	{name: "in an event stream", says: getIt, gives: okay + chunkedHead + "5\r\nfive.\r\n", reads: wantFive, whole: true},
	{name: "in an answer without length", says: getIt, gives: okay + "\r\nfive.", reads: wantFive, whole: true},
	{name: "in an answer that flows", says: getIt, gives: okay + "Content-Length: 1000000000000\r\n\r\nfive.", flows: true, reads: wantFive, whole: true},
	{name: "in chunks that flow", says: getIt, gives: okay + chunkedHead + "FFFFFFFFFF\r\nfive.", flows: true, reads: wantFive, whole: true},
	{name: "without reading what flows", says: getIt, gives: okay + "Content-Length: 1000000000000\r\n\r\n", flows: true, whole: true},
}

func wantEarly(in *bufio.Reader) error { return wantStatus(in, 103) }

func wantFive(in *bufio.Reader) error {
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(response.Body, make([]byte, 5))
	return err
}

// A left is one departure, and what its server sees of it.
type left struct {
	departure
	way   string        // resets or closes
	given chan struct{} // closed when the server has taken and given what it is to
	saw   chan error    // one: nil when the connection was closed in time, and not before
	conns atomic.Int64  // to the server
}

func (l *left) serve(conn *net.TCPConn) {
	if l.conns.Add(1) > 1 {
		if takeAll(bufio.NewReader(conn)) == nil {
			io.WriteString(conn, okay+"Content-Length: 4\r\n\r\nwell")
		}
		return
	}
	l.saw <- l.watch(conn)
}

// watch is the server's part.
func (l *left) watch(conn *net.TCPConn) error {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(request.Body, make([]byte, l.takes)); err != nil {
		return fmt.Errorf("what is taken of the body: %w", err)
	}
	if _, err := io.WriteString(conn, l.gives); err != nil {
		return err
	}
	close(l.given)
	conn.SetDeadline(time.Now().Add(promptly))
	if l.flows {
		err = pour(conn)
	} else if _, err = io.Copy(io.Discard, request.Body); err == nil {
		if !l.whole {
			return errors.New("the request looks whole to the server")
		}
		_, err = conn.Read(make([]byte, 1))
	}
	if isTimeout(err) {
		return errors.New("the server's connection stays open")
	}
	return nil
}

// play is the client's part.
func (l *left) play(w *world, address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(w.deadline())
	if _, err := io.WriteString(conn, l.says); err != nil {
		return err
	}
	select {
	case <-l.given:
	case err := <-l.saw:
		return err
	case <-w.ctx.Done():
		return errors.New("at the deadline the server's part has not begun")
	}
	if l.reads != nil {
		if err := l.reads(bufio.NewReader(conn)); err != nil {
			return err
		}
	}
	if l.way == "resets" {
		conn.(*net.TCPConn).SetLinger(0)
	}
	conn.Close()
	if err := <-l.saw; err != nil {
		return err
	}
	if a := w.get(address, "/"); a.status != 200 || a.body != "well" {
		return fmt.Errorf("the next request: %+v", a)
	}
	if got := l.conns.Load(); got != 2 {
		return fmt.Errorf("the server has got %d connections, want 2", got)
	}
	return nil
}

// TestClientsLeaveAtEveryStage of a request: the server's connection is closed
// soon, and what the client did not finish does not look whole.
func TestClientsLeaveAtEveryStage(t *testing.T) {
	overEachIO(t, 40*time.Second, func(w *world, io string) {
		var all []*left
		for _, d := range departures {
			for _, way := range []string{"closes", "resets"} {
				all = append(all, &left{departure: d, way: way, given: make(chan struct{}), saw: make(chan error, 1)})
			}
		}
		b := w.balance(httpEach(io, len(all), func(i int, pool object) {
			pool["servers"] = []string{w.tcpServer(all[i].serve)}
		}))
		b.playEach(len(all), func(i int, address string) error {
			if err := all[i].play(w, address); err != nil {
				return fmt.Errorf("the client %s %s: %w", all[i].way, all[i].name, err)
			}
			return nil
		})
	})
}

// counted is a writer that counts what it has written.
type counted struct {
	io.Writer
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// TestClientsLeaveUnnoticed: who leaves within a head never gets as far as a server;
// a reset while the server takes no more of the body, so that nothing is read from
// the client, is noticed by the end of response_timeout.
func TestClientsLeaveUnnoticed(t *testing.T) {
	overEachIO(t, 30*time.Second, func(w *world, io_ string) {
		var conns atomic.Int64
		config := httpOnly(w.tcpServer(func(*net.TCPConn) {
			conns.Add(1)
			<-w.ended()
		}))
		config["io"] = io_
		poolOf(config)["health"] = false
		poolOf(config)["response_timeout"] = "2s"
		b := w.balance(config)
		for range 10 {
			conn := w.dial(b.listeners["web"])
			w.must(ignore(io.WriteString(conn, "GET / HTTP/1.1\r\nHo")))
			w.must(conn.Close())
		}
		conn := w.dial(b.listeners["web"])
		w.must(ignore(io.WriteString(conn, "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 1000000000000\r\n\r\n")))
		var poured atomic.Int64
		go pour(counted{conn, &poured})
		w.eventually("the request is active", func() bool { return sum(active(b, "web")) == 1 })
		w.untilStill("the server holds the client back", &poured)
		w.must(reset(conn))
		w.eventually("no request is active", func() bool { return sum(active(b, "web")) == 0 })
		if got := conns.Load(); got != 1 {
			w.Errorf("the server got %d connections, want 1", got)
		}
	})
}
