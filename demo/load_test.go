package demo

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// startLoad starts a load for the length of a test.
func startLoad(t *testing.T, o LoadOptions) *Load {
	t.Helper()
	l := StartLoad(o)
	t.Cleanup(l.Stop)
	return l
}

// wantCounts waits until the counts are as wanted.
func wantCounts(t *testing.T, l *Load, wanted func(Counts) bool) Counts {
	t.Helper()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for {
		select {
		case <-again.C:
			if c := l.Counts(); wanted(c) {
				return c
			}
		case <-late:
			t.Fatalf("counts %+v after %s", l.Counts(), patience)
		}
	}
}

// origin is an http server for the load that answers as the test wants it to.
func origin(t *testing.T, answer http.HandlerFunc) (address string, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	s := httptest.NewUnstartedServer(answer)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), connections
}

func TestLoadOnTheDemoServers(t *testing.T) {
	t.Parallel()
	s, log := start(t)
	l := startLoad(t, LoadOptions{
		HTTPAddress: s.HTTPAddresses()[0], RequestsPerSecond: 500,
		TCPAddress: s.TCPAddresses()[0], LineInterval: 5 * time.Millisecond, ReconnectAfter: 50 * time.Millisecond,
	})
	c := wantCounts(t, l, func(c Counts) bool { return c.HTTPOK >= 50 && c.TCPOK >= 100 })
	if c.HTTPFailed != 0 || c.TCPFailed != 0 {
		t.Errorf("counts %+v, want none failed", c)
	}
	if len(c.Servers) != 1 || c.Servers["fast"] != c.HTTPOK {
		t.Errorf("by server %v, want all %d by fast", c.Servers, c.HTTPOK)
	}

	ask(t, "POST", "http://"+s.HTTPAddresses()[0]+"/quit?seconds=1", "")
	log.want(t, "demo server went away")
	failed := wantCounts(t, l, func(c Counts) bool { return c.HTTPFailed > 0 })
	log.want(t, "demo server is back")
	wantCounts(t, l, func(c Counts) bool { return c.HTTPOK > failed.HTTPOK+50 })

	l.Stop()
	after := l.Counts()
	if after.TCPFailed != 0 {
		t.Errorf("counts %+v, want no tcp failed", after)
	}
	l.Stop()
}

func TestLoadKeepsItsPaceAndItsConnections(t *testing.T) {
	address, connections := origin(t, func(http.ResponseWriter, *http.Request) {})
	began := time.Now()
	l := startLoad(t, LoadOptions{HTTPAddress: address, RequestsPerSecond: 200, HTTPConnections: 3})
	c := wantCounts(t, l, func(c Counts) bool { return c.HTTPOK >= 60 })
	// One tick may wait in the ticker, so that two requests follow at once.
	if least := time.Duration(c.HTTPOK-2) * time.Second / 200; time.Since(began) < least {
		t.Errorf("%d requests in %s, want at least %s for them", c.HTTPOK, time.Since(began), least)
	}
	if got := connections.Load(); got > 3 {
		t.Errorf("%d connections, want at most 3", got)
	}
}

func TestLoadCountsFailures(t *testing.T) {
	gone := listen(t, "127.0.0.1:0")
	gone.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"status":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"redirect": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/"); w.WriteHeader(302) },
		"large":    func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 100*loadBodyBytes)) },
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
		},
		"refused": nil,
	} {
		t.Run(name, func(t *testing.T) {
			address := gone.Addr().String()
			if answer != nil {
				address, _ = origin(t, answer)
			}
			l := startLoad(t, LoadOptions{HTTPAddress: address, RequestsPerSecond: 500})
			if c := wantCounts(t, l, func(c Counts) bool { return c.HTTPFailed >= 10 }); c.HTTPOK != 0 {
				t.Errorf("counts %+v, want none ok", c)
			}
		})
	}
}

func TestStopDoesNotWaitForAnAnswerNorCountIt(t *testing.T) {
	asked := make(chan struct{}, 100)
	address, _ := origin(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	silent := listen(t, "127.0.0.1:0")
	l := startLoad(t, LoadOptions{HTTPAddress: address, TCPAddress: silent.Addr().String(), TCPConnections: 1})
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-asked
	began := time.Now()
	l.Stop()
	if took := time.Since(began); took > loadTimeout/2 {
		t.Errorf("stopped after %s, want at once", took)
	}
	if c := l.Counts(); c.HTTPOK+c.HTTPFailed+c.TCPOK+c.TCPFailed != 0 {
		t.Errorf("counts %+v, want none", c)
	}
}

func TestNamesOfServersAreBounded(t *testing.T) {
	l := &Load{servers: make(map[string]int64)}
	for _, hostile := range []string{"", "two words", "\x1b[2J", "ümlaut", strings.Repeat("x", maxNameBytes+1)} {
		l.countOK(hostile)
	}
	for i := range 2 * maxNames {
		l.countOK(fmt.Sprint("server-", i))
	}
	l.countOK("server-0")
	c := l.Counts()
	if len(c.Servers) > maxNames+1 || c.Servers["server-0"] != 2 {
		t.Errorf("%d names, server-0 %d times; want at most %d, and 2", len(c.Servers), c.Servers["server-0"], maxNames+1)
	}
	var sum int64
	for _, n := range c.Servers {
		sum += n
	}
	if sum != c.HTTPOK || sum != 5+2*maxNames+1 {
		t.Errorf("sum %d, ok %d; want both %d", sum, c.HTTPOK, 5+2*maxNames+1)
	}
}

// lineServer accepts connections and lets the test talk on them.
func lineServer(t *testing.T, talk func(net.Conn, *bufio.Reader)) (address string) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(patience))
			talk(conn, bufio.NewReader(conn))
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestLoadConnectsAgainAndEndsInOrder(t *testing.T) {
	endings := make(chan error, 100)
	address := lineServer(t, func(conn net.Conn, in *bufio.Reader) {
		io.WriteString(conn, "hello from here\n")
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				select {
				case endings <- err:
				default:
				}
				return
			}
			io.WriteString(conn, "here: "+line)
		}
	})
	l := startLoad(t, LoadOptions{TCPAddress: address, TCPConnections: 1, LineInterval: time.Millisecond, ReconnectAfter: 20 * time.Millisecond})
	for range 5 {
		if err := <-endings; err != io.EOF {
			t.Errorf("a connection ended with %v, want EOF", err)
		}
	}
	c := wantCounts(t, l, func(c Counts) bool { return c.TCPOK >= 10 })
	if c.TCPFailed != 0 {
		t.Errorf("counts %+v, want none failed", c)
	}
}

func TestLoadCountsTCPFailures(t *testing.T) {
	for name, talk := range map[string]func(net.Conn, *bufio.Reader){
		"closed at once": func(net.Conn, *bufio.Reader) {},
		"wrong greeting": func(conn net.Conn, _ *bufio.Reader) { io.WriteString(conn, "who are you\n") },
		"endless line":   func(conn net.Conn, _ *bufio.Reader) { conn.Write(make([]byte, loadLineBytes+1)) },
		"wrong echo": func(conn net.Conn, in *bufio.Reader) {
			io.WriteString(conn, "hello from here\n")
			in.ReadString('\n')
			io.WriteString(conn, "here: something else\n")
			in.ReadString('\n')
		},
		"more than asked": func(conn net.Conn, in *bufio.Reader) {
			io.WriteString(conn, "hello from here\n")
			line, _ := in.ReadString('\n')
			io.WriteString(conn, "here: "+line+"and more\n")
			in.ReadString('\n')
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := startLoad(t, LoadOptions{TCPAddress: lineServer(t, talk), TCPConnections: 1, LineInterval: time.Millisecond, ReconnectAfter: time.Millisecond})
			wantCounts(t, l, func(c Counts) bool { return c.TCPFailed >= 3 })
		})
	}
}

func TestLoadDefaultsAndBounds(t *testing.T) {
	standard := LoadOptions{RequestsPerSecond: 50, HTTPConnections: 4, TCPConnections: 4, LineInterval: 200 * time.Millisecond, ReconnectAfter: 4 * time.Second}
	if got := (LoadOptions{}).withDefaults(); got != standard {
		t.Errorf("zero: %+v, want %+v", got, standard)
	}
	if got := (LoadOptions{"", "", -1, -1, -1, -1, -1}).withDefaults(); got != standard {
		t.Errorf("negative: %+v, want %+v", got, standard)
	}
	most := LoadOptions{"", "", 1000, 64, 64, time.Millisecond, 1}
	if got := (LoadOptions{"", "", 1e6, 1e6, 1e6, 1, 1}).withDefaults(); got != most {
		t.Errorf("extreme: %+v, want %+v", got, most)
	}
}
