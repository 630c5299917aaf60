package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A stage is how far a server gets with a request before it leaves.
type stage struct {
	name  string
	takes func(in *bufio.Reader) error // the part of the request that it takes first
	says  string                       // the part of its answer that it gives
	early bool                         // a 103 is in that
	begun bool                         // and the head of the answer
	shows string                       // and so much of the body
	whole bool                         // which is all of it
	until bool                         // and ends with the connection
}

const okay = "HTTP/1.1 200 OK\r\n"

var (
	longText = string(someNoise(4 << 20)) // is spliced
	halfText = longText[:len(longText)/2]
)

func someNoise(size int) []byte {
	b := make([]byte, size)
	newNoise(0).Read(b)
	return b
}

// silent are the stages before the head of an answer has come, halfway those within
// a request's body, and broken those from the head of an answer on.
var (
	silent = []stage{
		{name: "before reading", takes: takeNothing},
		{name: "in the head of the request", takes: takeSome},
		{name: "before the answer", takes: takeAll},
		{name: "in the head of the answer", takes: takeAll, says: okay + "Content-Le"},
		{name: "after 103", takes: takeAll, says: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", early: true},
		{name: "in the head after 103", takes: takeAll, says: "HTTP/1.1 103 Early Hints\r\n\r\n" + okay, early: true},
	}
	halfway = []stage{
		{name: "in the body of the request", takes: takeHalf},
		{name: "in an early answer", takes: takeHalf, says: okay + "Content-Length: 10\r\n\r\nfive.", begun: true, shows: "five."},
	}
	broken = []stage{
		{name: "before the body", says: okay + "Content-Length: 10\r\n\r\n"},
		{name: "in the body", says: okay + "Content-Length: 10\r\n\r\nfive.", shows: "five."},
		{name: "in a long body", says: okay + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(longText)) + halfText, shows: halfText},
		{name: "in a body without length", says: okay + "\r\nfive.", shows: "five.", until: true},
		{name: "before the first chunk", says: okay + chunkedHead},
		{name: "in the size of a chunk", says: okay + chunkedHead + "5\r\nfive.\r\n1", shows: "five."},
		{name: "in a chunk", says: okay + chunkedHead + "a\r\nfive.", shows: "five."},
		{name: "in a long chunk", says: okay + chunkedHead + fmt.Sprintf("%x\r\n", len(longText)) + halfText, shows: halfText},
		{name: "behind the payload of a chunk", says: okay + chunkedHead + "5\r\nfive.", shows: "five."},
		{name: "in the end of a chunk", says: okay + chunkedHead + "5\r\nfive.\r", shows: "five."},
		{name: "before the last chunk", says: okay + chunkedHead + "5\r\nfive.\r\n", shows: "five."},
		{name: "in the last chunk", says: okay + chunkedHead + "5\r\nfive.\r\n0\r\n", shows: "five."},
		{name: "in the trailers", says: okay + chunkedHead + "5\r\nfive.\r\n0\r\nX-Sum: 5\r\n", shows: "five."},
		{name: "behind the answer", says: okay + "Content-Length: 5\r\n\r\nfive.", shows: "five.", whole: true},
		{name: "behind the last chunk", says: okay + chunkedHead + "5\r\nfive.\r\n0\r\n\r\n", shows: "five.", whole: true},
	}
)

const chunkedHead = "Transfer-Encoding: chunked\r\n\r\n"

// takeNothing waits until there is something to take: a connection that breaks down
// before anything was sent on it is no different from a refused one.
func takeNothing(in *bufio.Reader) error {
	_, err := in.Peek(1)
	return err
}

func takeSome(in *bufio.Reader) error {
	_, err := io.ReadFull(in, make([]byte, 10))
	return err
}

func takeAll(in *bufio.Reader) error {
	request, err := http.ReadRequest(in)
	if err == nil {
		_, err = io.Copy(io.Discard, request.Body)
	}
	return err
}

func takeHalf(in *bufio.Reader) error {
	request, err := http.ReadRequest(in)
	if err == nil {
		_, err = io.CopyN(io.Discard, request.Body, postSize/2)
	}
	return err
}

// An ask is a request.
type ask struct {
	name, head, body string
	again            bool // it may be sent twice
}

const postSize = 1 << 20 // of a request's body

var asks = []ask{
	{"GET", "GET / HTTP/1.1\r\nHost: e2e\r\nConnection: TE\r\nTE: trailers\r\n\r\n", "", true},
	{"GET of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "", true},
	{"POST without a body", "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 0\r\n\r\n", "", false},
	{"POST", fmt.Sprintf("POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: %d\r\n\r\n", postSize), longText[:postSize], false},
	{"POST in chunks", "POST / HTTP/1.1\r\nHost: e2e\r\n" + chunkedHead, strings.Repeat("400\r\n"+longText[:1<<10]+"\r\n", postSize>>10) + "0\r\n\r\n", false},
}

// httpEach is a config of n http listeners, each with a pool of its own without
// checks that is yet to be completed.
func httpEach(io string, n int, complete func(i int, pool object)) object {
	var listeners, pools []object
	for i := range n {
		name := fmt.Sprint(i)
		pool := object{"name": name, "health": false}
		complete(i, pool)
		pools = append(pools, pool)
		listeners = append(listeners, object{"name": name, "protocol": "http", "address": "127.0.0.1:0", "pool": name})
	}
	return object{"io": io, "listeners": listeners, "pools": pools}
}

// playEach runs a story on each of n listeners of httpEach, many at a time.
func (b *balancer) playEach(n int, story func(i int, address string) error) {
	b.w.Helper()
	const atATime = 48
	var players sync.WaitGroup
	places := make(chan struct{}, atATime)
	for i := range n {
		places <- struct{}{}
		players.Go(func() {
			if err := story(i, b.listeners[fmt.Sprint(i)]); err != nil {
				b.w.Error(err)
			}
			<-places
		})
	}
	players.Wait()
	b.wantIdle()
}

// wantIdle waits until no server has active requests.
func (b *balancer) wantIdle() {
	b.w.Helper()
	b.w.eventually("no server has active requests", func() bool {
		for _, servers := range b.pools() {
			if slices.ContainsFunc(servers, func(s server) bool { return s.Active != 0 }) {
				return false
			}
		}
		return true
	})
}

// TestServersLeaveAtEveryStage of a request: the client gets 502, 504, or what
// there is of the answer and no clean end; nothing is sent twice but what may be,
// and all is well afterwards.
func TestServersLeaveAtEveryStage(t *testing.T) {
	overEachIO(t, 60*time.Second, func(w *world, io string) {
		all := mishaps()
		config := httpEach(io, len(all), func(i int, pool object) {
			m := all[i]
			serve := func(conn *net.TCPConn) { m.serve(w, conn) }
			servers := []string{w.tcpServer(serve)}
			if !m.kept {
				servers = append(servers, w.tcpServer(serve)) // to which nothing may go over
			}
			pool["servers"] = servers
			if m.way == "hangs" && !m.begun {
				pool["response_timeout"] = "3s"
			}
		})
		b := w.balance(config)
		b.playEach(len(all), func(i int, address string) error {
			if err := all[i].play(w, address); err != nil {
				return fmt.Errorf("%s: %w", all[i], err)
			}
			return nil
		})
	})
}
