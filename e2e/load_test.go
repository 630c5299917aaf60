package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// talk is one request and its answer on a connection. It returns who answered
// and whether the connection can be used again.
type talk func(conn net.Conn, r *bufio.Reader) (by string, again bool, err error)

// keepAlive asks for / and leaves the connection open.
func keepAlive(conn net.Conn, r *bufio.Reader) (string, bool, error) {
	return askHTTP(conn, r, "GET / HTTP/1.1\r\nHost: e2e\r\n\r\n")
}

// closing asks for / on a connection that ends with the answer.
func closing(conn net.Conn, r *bufio.Reader) (string, bool, error) {
	return askHTTP(conn, r, "GET / HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n")
}

func askHTTP(conn net.Conn, r *bufio.Reader, request string) (by string, again bool, err error) {
	if _, err := io.WriteString(conn, request); err != nil {
		return "", false, fmt.Errorf("sending: %w", err)
	}
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return "", false, fmt.Errorf("reading the head: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", false, fmt.Errorf("reading the body: %w", err)
	}
	if response.StatusCode != 200 {
		return "", false, fmt.Errorf("status %d: %s", response.StatusCode, strings.TrimSpace(string(body)))
	}
	return strings.TrimSpace(string(body)), !response.Close, nil
}

// redisName asks a redis for its name.
func redisName(conn net.Conn, r *bufio.Reader) (string, bool, error) {
	if _, err := io.WriteString(conn, "GET name\r\n"); err != nil {
		return "", false, fmt.Errorf("sending: %w", err)
	}
	length, err := r.ReadString('\n')
	if err != nil {
		return "", false, fmt.Errorf("reading: %w", err)
	}
	name, err := r.ReadString('\n')
	if err != nil {
		return "", false, fmt.Errorf("reading: %w", err)
	}
	name = strings.TrimSpace(name)
	if want := fmt.Sprintf("$%d\r\n", len(name)); length != want {
		return "", false, fmt.Errorf("answer %q %q", length, name)
	}
	return name, true, nil
}

// once closes the connection after each answer.
func once(t talk) talk {
	return func(conn net.Conn, r *bufio.Reader) (string, bool, error) {
		by, _, err := t(conn, r)
		return by, false, err
	}
}

// A load is workers that send one request after the other and count what comes
// of them.
type load struct {
	w            *world
	name         string
	address      string
	talk         talk
	untilRefused bool          // a refused connection is the end of a worker, not a failure
	stopped      chan struct{} // closed to end all workers
	all          sync.WaitGroup
	turns        []atomic.Int64 // requests of each worker, however they ended

	ok, failed, refused atomic.Int64

	mu      sync.Mutex
	reasons map[string]int // of failures; guarded by mu
	by      map[string]int // who answered; guarded by mu
}

// load starts workers on an address. Its stop is called with the test, too.
func (w *world) load(name, address string, workers int, t talk) *load {
	return w.startLoad(&load{name: name, address: address, talk: t}, workers)
}

// loadUntilRefused is a load whose workers end when connections are refused.
func (w *world) loadUntilRefused(name, address string, workers int, t talk) *load {
	return w.startLoad(&load{name: name, address: address, talk: t, untilRefused: true}, workers)
}

func (w *world) startLoad(l *load, workers int) *load {
	l.w = w
	l.stopped = make(chan struct{})
	l.turns = make([]atomic.Int64, workers)
	l.reasons, l.by = make(map[string]int), make(map[string]int)
	for i := range workers {
		l.all.Go(func() { l.work(&l.turns[i]) })
	}
	w.Cleanup(l.stop)
	return l
}

// stop ends the load and waits for its workers.
func (l *load) stop() {
	select {
	case <-l.stopped:
	default:
		close(l.stopped)
	}
	l.all.Wait()
}

func (l *load) work(turns *atomic.Int64) {
	var conn net.Conn
	var in *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for l.goesOn() {
		if conn == nil {
			var err error
			if conn, err = net.DialTimeout("tcp", l.address, 5*time.Second); err != nil {
				conn = nil
				if l.untilRefused {
					l.refused.Add(1)
					return
				}
				l.fail(fmt.Errorf("connecting: %w", err))
				turns.Add(1)
				continue
			}
			in = bufio.NewReader(conn)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		by, again, err := l.talk(conn, in)
		if err != nil {
			l.fail(err)
		} else {
			l.succeed(by)
		}
		if err != nil || !again {
			conn.Close()
			conn = nil
		}
		turns.Add(1)
	}
}

func (l *load) goesOn() bool {
	select {
	case <-l.stopped:
		return false
	default:
		return l.w.ctx.Err() == nil
	}
}

func (l *load) succeed(by string) {
	l.ok.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[by]++
}

func (l *load) fail(err error) {
	l.failed.Add(1)
	l.mu.Lock()
	l.reasons[reason(err)]++
	l.mu.Unlock()
	// A refusal costs nothing: without a pause a worker would do nothing else.
	time.Sleep(time.Millisecond)
}

// reason is an error without the addresses in it, to be counted with its like.
func reason(err error) string {
	var network *net.OpError
	var number syscall.Errno
	switch what, _, _ := strings.Cut(err.Error(), ":"); {
	case errors.As(err, &number):
		return what + ": " + number.Error()
	case errors.As(err, &network):
		return what + ": " + network.Err.Error()
	}
	return err.Error()
}

// settle waits until every request that is under way now has ended, and one more
// of each worker.
func (l *load) settle() {
	l.w.Helper()
	before := make([]int64, len(l.turns))
	for i := range l.turns {
		before[i] = l.turns[i].Load()
	}
	l.w.eventually(l.name+": every worker has had two more turns", func() bool {
		for i := range l.turns {
			if l.turns[i].Load() < before[i]+2 {
				return false
			}
		}
		return true
	})
}

// more waits until n more requests were answered.
func (l *load) more(n int64) {
	l.w.Helper()
	before := l.ok.Load()
	l.w.eventually(fmt.Sprintf("%s: %d more requests are answered", l.name, n), func() bool { return l.ok.Load() >= before+n })
}

// answeredBy returns how many requests a server has answered.
func (l *load) answeredBy(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[name]
}

// String sums up what came of the load.
func (l *load) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := fmt.Sprintf("%s: %d ok, %d failed, %d refused, by %v", l.name, l.ok.Load(), l.failed.Load(), l.refused.Load(), l.by)
	for _, reason := range slices.Sorted(maps.Keys(l.reasons)) {
		text += fmt.Sprintf("; %d× %s", l.reasons[reason], reason)
	}
	return text
}

// wantNoFailure fails the test if any request has failed.
func (l *load) wantNoFailure() {
	l.w.Helper()
	l.w.Log(l)
	if l.failed.Load() > 0 {
		l.w.Errorf("%s: %d requests failed, want none", l.name, l.failed.Load())
	}
}
