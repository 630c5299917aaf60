package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A stream is a connection to an echo server on which noise goes there and comes back,
// paced, until it is told to end.
type stream struct {
	conn      net.Conn
	sent, got [32]byte
	n         int64 // bytes that came back
	err       error
}

// run writes pieces of noise as next says, and reads what comes back, until next says
// that there is no more.
func (s *stream) run(number int, next func() (pause time.Duration, more bool)) {
	noise := newNoise(number)
	lengths := rand.New(noise)
	var back sync.WaitGroup
	back.Go(func() {
		hash := sha256.New()
		n, err := io.Copy(hash, s.conn)
		s.n, s.got = n, [32]byte(hash.Sum(nil))
		if err != nil {
			s.err = fmt.Errorf("after %d bytes: %w", n, err)
		}
	})
	hash := sha256.New()
	for {
		pause, more := next()
		if !more {
			break
		}
		piece := make([]byte, 1+lengths.IntN(1<<(6+lengths.IntN(8))))
		noise.Read(piece)
		hash.Write(piece)
		if _, err := s.conn.Write(piece); err != nil {
			break
		}
		time.Sleep(pause)
	}
	s.conn.(*net.TCPConn).CloseWrite()
	back.Wait()
	s.sent = [32]byte(hash.Sum(nil))
}

// TestRelaysMoveOverUpgrades: through 2,000 open connections noise goes both ways, some
// of it as fast as it can, while one process after the other takes over. Not a byte is
// lost, doubled or reordered, the counts are exact, and the old ones are gone.
func TestRelaysMoveOverUpgrades(t *testing.T) {
	const relays, fast, upgrades = 2000, 4, 20
	overEachIO(t, 150*time.Second, func(w *world, io string) {
		l := w.found(plainBinary, w.fixed(object{
			"io":               io,
			"shutdown_timeout": "30s",
			"listeners":        []object{{"name": "echo", "protocol": "tcp", "pool": "echo"}},
			"pools":            []object{{"name": "echo", "servers": []any{w.echoServer(), w.echoServer()}}},
		}))
		over := make(chan struct{})
		streams := make([]stream, relays)
		w.must(onEach(relays, func(i int) (err error) {
			streams[i].conn, err = net.Dial("tcp", l.listeners["echo"])
			return err
		}))
		var all sync.WaitGroup
		for i := range streams {
			streams[i].conn.SetDeadline(w.deadline())
			pause := time.Second
			if i < fast {
				pause = 0
			}
			all.Go(func() {
				streams[i].run(i, func() (time.Duration, bool) { return pause, !isClosed(over) })
			})
		}
		w.eventually("all are relayed", func() bool { return l.active("echo") == relays })
		for range upgrades {
			l.upgraded()
			l.awaitHeir()
			if n := l.active("echo"); n != relays {
				t.Errorf("%d active, want %d", n, relays)
			}
			if seen := l.traffic("echo"); seen.Active != relays || seen.Accepted != relays {
				t.Errorf("%d of %d accepted are active, want %d of as many", seen.Active, seen.Accepted, relays)
			}
		}
		if n := descriptors(w, l.pids[upgrades]); n > 2*relays+200 {
			t.Errorf("the last process has %d descriptors open", n)
		}
		close(over)
		all.Wait()
		total := int64(0)
		for i := range streams {
			s := &streams[i]
			if s.err != nil || s.sent != s.got {
				t.Errorf("stream %d: %d bytes came back, the same: %v, error %v", i, s.n, s.sent == s.got, s.err)
			}
			s.conn.Close()
			total += s.n
		}
		w.eventually("all have ended", func() bool { return l.active("echo") == 0 })
		seen := l.traffic("echo")
		if seen.ToUpstream != total || seen.ToClient != total || seen.Ends["client_closed"] != relays {
			t.Errorf("counted %+v, %d bytes went each way", seen, total)
		}
	})
}

// active returns how many connections are active on all servers of a pool.
func (b *balancer) active(pool string) (n int64) {
	for _, s := range b.pools()[pool] {
		n += s.Active
	}
	return n
}

// TestUpgradesUnderLoad: while one process after the other takes over no request fails,
// long answers arrive whole, WebSockets go on, and who is idle stays connected.
func TestUpgradesUnderLoad(t *testing.T) {
	const upgrades, chats = 20, 5
	overEachIO(t, 120*time.Second, func(w *world, io string) {
		ended := make(chan error, 2*chats)
		folder := w.TempDir()
		w.must(os.WriteFile(folder+"/big", bytes.Repeat([]byte("0123456789abcdef"), 64<<10), 0o644))
		l := w.found(plainBinary, w.fixed(object{
			"io":               io,
			"shutdown_timeout": "30s",
			"listeners": []object{
				{"name": "web", "protocol": "http", "pool": "web", "access_log": folder + "/web.log"},
				{"name": "chat", "protocol": "http", "pool": "chat"},
				{"name": "db", "protocol": "tcp", "pool": "db", "access_log": folder + "/db.log"}},
			"pools": []object{
				{"name": "web", "servers": []any{w.bodies(), w.bodies()}},
				{"name": "chat", "servers": []any{w.webSocketServer(ended)}},
				{"name": "db", "servers": weighted(w.redises("one", "two"))}},
		}))
		var sockets []*websocket.Conn
		for range chats {
			sockets = append(sockets, w.dialWebSocket(l.listeners["chat"]))
		}
		idle := w.idler(l.listeners["web"])
		loads := []*load{
			w.load("http keep-alive", l.listeners["web"], 4, posting(10)),
			w.load("http close", l.listeners["web"], 4, once(posting(10_000))),
			w.load("http 1 MiB", l.listeners["web"], 2, posting(mebibyte)),
			w.load("tcp short", l.listeners["db"], 4, once(redisName)),
			w.load("tcp kept", l.listeners["db"], 4, redisName),
		}
		for i := range upgrades {
			for _, load := range loads {
				load.more(5)
			}
			if i%2 == 0 {
				l.upgraded()
			} else {
				l.upgradedBySignal()
			}
			for _, c := range sockets {
				wantMessageBack(w, c, websocket.MessageText, fmt.Appendf(nil, "after upgrade %d", i))
			}
			idle.ask()
		}
		for _, load := range loads {
			load.settle()
			load.stop()
			load.wantNoFailure()
		}
		l.awaitHeir()
		for _, c := range sockets {
			c.Close(websocket.StatusNormalClosure, "")
		}
		idle.conn.Close()
		w.eventually("nothing is open", func() bool {
			return l.active("web")+l.active("chat")+l.active("db") == 0
		})
		requests := idle.asked + loads[0].ok.Load() + loads[1].ok.Load() + loads[2].ok.Load()
		w.eventually("all requests are in the access log", func() bool { return linesOf(w, folder+"/web.log") >= requests })
		if n := linesOf(w, folder+"/web.log"); n != requests {
			t.Errorf("%d requests are in the access log, %d were answered", n, requests)
		}
		var seen struct{ HTTP struct{ Requests int64 } }
		l.get("/v1/listeners/web", &seen)
		if seen.HTTP.Requests != requests {
			t.Errorf("%d requests are counted, %d were answered", seen.HTTP.Requests, requests)
		}
	})
}

// upgradedBySignal is upgraded by SIGUSR2.
func (l *lineage) upgradedBySignal() {
	l.w.Helper()
	last := l.pids[len(l.pids)-1]
	l.w.must(syscall.Kill(last, syscall.SIGUSR2))
	l.w.eventually("another process serves", func() bool {
		pid := l.serves()
		if pid != last {
			l.pids = append(l.pids, pid)
		}
		return pid != last
	})
}

func linesOf(w *world, path string) int64 {
	w.Helper()
	text, err := os.ReadFile(path)
	w.must(err)
	return int64(bytes.Count(text, []byte("\n")))
}

// TestHeirsThatDoNotComeUp: whatever is wrong with the new process, the old one goes on
// as if nothing had been, and says why.
func TestHeirsThatDoNotComeUp(t *testing.T) {
	w := newWorld(t, 120*time.Second)
	echo := w.echoServer()
	config := w.fixed(object{
		"listeners": []object{{"name": "echo", "protocol": "tcp", "pool": "echo"}},
		"pools":     []object{{"name": "echo", "servers": []any{echo}}},
	})
	l := w.found(raceBinary, config)
	open := w.dial(l.listeners["echo"])
	wantEcho(w, open, "before")
	file := func(text string) func() {
		return func() {
			w.must(os.WriteFile(l.binary+".new", []byte(text), 0o755))
			w.must(os.Rename(l.binary+".new", l.binary))
		}
	}
	script := func(text string) func() { return file("#!/bin/sh\n" + text) }
	taken := w.listen()
	for name, story := range map[string]struct {
		wrong  func()
		reason string
	}{
		"ends at once":       {script("exit 3\n"), "ended with exit status 3"},
		"is killed":          {script("kill -9 $$\n"), "signal: killed"},
		"says nothing":       {script("exec sleep 100\n"), "it took too long"},
		"says nonsense":      {script("echo 'HTTP/1.1 200 OK, and so on' >&\"$FULCRUM_HANDOVER\"\nexec sleep 100\n"), "not the beginning"},
		"is not there":       {func() { w.must(os.Remove(l.binary)) }, "no such file"},
		"is no program":      {file("x"), "exec format error"},
		"has no config":      {func() { w.replaceFile(l.configPath(), []byte(`{"listeners": [`)) }, "config.json:1:"},
		"finds a port taken": {func() { l.rewrite(withListener(config, "more", taken.Addr().String())) }, "address already in use"},
	} {
		story.wrong()
		began := time.Now()
		_, refusal := l.tryUpgrade()
		if !strings.Contains(refusal, story.reason) || !strings.Contains(refusal, "this one goes on") {
			t.Errorf("%s: refused with %q, want it to say %q", name, refusal, story.reason)
		}
		if took := time.Since(began); took > 35*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		w.install(raceBinary, l.binary)
		l.rewrite(config)
		if pid := l.serves(); pid != l.pids[0] {
			t.Fatalf("%s: process %d serves", name, pid)
		}
		wantEcho(w, open, name)
		wantEcho(w, w.dial(l.listeners["echo"]), name)
		more := w.echoServer()
		l.upload("echo", more) // what is recorded is this process's again
		l.delete("echo", more)
		l.awaitGone("echo", more)
	}
	l.upgraded()
	l.awaitHeir()
	wantEcho(w, open, "after all")
}

// withListener returns a config with one more listener.
func withListener(config object, name, address string) object {
	all := append([]object{}, config["listeners"].([]object)...)
	return with(config, object{"listeners": append(all, object{"name": name, "protocol": "tcp", "pool": "echo", "address": address})})
}

// TestKilledWhileConnectionsMove: one of the two processes is killed at any moment of the
// move. What the other has goes on, the rest ends, and nobody gets a wrong byte.
func TestKilledWhileConnectionsMove(t *testing.T) {
	const relays, rounds = 300, 4
	overEachIO(t, 120*time.Second, func(w *world, io string) {
		for round := range rounds {
			l := w.found(plainBinary, w.fixed(object{
				"io":               io,
				"shutdown_timeout": "1s",
				"listeners":        []object{{"name": "echo", "protocol": "tcp", "pool": "echo"}},
				"pools":            []object{{"name": "echo", "servers": []any{w.echoServer()}}},
			}))
			var conns [relays]net.Conn
			w.must(onEach(relays, func(i int) (err error) {
				if conns[i], err = net.Dial("tcp", l.listeners["echo"]); err == nil {
					conns[i].SetDeadline(w.deadline())
					err = saidBack(conns[i], i)
				}
				return err
			}))
			var all sync.WaitGroup
			var wrong atomic.Int64
			for i, c := range conns {
				all.Go(func() {
					defer c.Close()
					for n := i; ; n += relays {
						if err := saidBack(c, n); err == errNotSame {
							wrong.Add(1)
							return
						} else if err != nil {
							return // it has ended
						}
						time.Sleep(5 * time.Millisecond)
					}
				})
			}
			l.upgraded()
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			syscall.Kill(l.pids[(round+1)%2], syscall.SIGKILL)
			left := l.pids[round%2]
			if round%2 == 1 { // the new one serves
				w.eventually("a new client is served", func() bool {
					c, err := net.Dial("tcp", l.listeners["echo"])
					if err != nil {
						return false
					}
					defer c.Close()
					c.SetDeadline(w.deadline())
					return saidBack(c, 1) == nil
				})
				syscall.Kill(left, syscall.SIGTERM)
			}
			w.eventually("the other ends", func() bool { return !running(left) })
			all.Wait()
			if n := wrong.Load(); n > 0 {
				t.Errorf("%d connections brought something else than what was sent", n)
			}
		}
	})
}

var errNotSame = fmt.Errorf("what came back is not what was sent")

// saidBack sends a word and reads it back.
func saidBack(c net.Conn, number int) error {
	said := word(number)
	if _, err := c.Write(said); err != nil {
		return err
	}
	got := make([]byte, len(said))
	n, err := io.ReadFull(c, got)
	if !bytes.Equal(got[:n], said[:n]) {
		return errNotSame
	}
	return err
}

// TestUpgradeToAnotherConfig: the new process has another config. What it shares with the
// old one goes over; what only the old one knows ends there; what was uploaded is there.
func TestUpgradeToAnotherConfig(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	stays, goes, comes, uploaded := w.echoServer(), w.echoServer(), w.echoServer(), w.echoServer()
	folder := w.socketFolder()
	config := w.fixed(object{
		"shutdown_timeout": "2s",
		"listeners": []object{
			{"name": "kept", "protocol": "tcp", "pool": "a"},
			{"name": "gone", "protocol": "tcp", "pool": "b"},
			{"name": "file", "protocol": "tcp", "pool": "a"}},
		"pools": []object{{"name": "a", "servers": []any{stays}}, {"name": "b", "servers": []any{goes}}},
	})
	listeners := config["listeners"].([]object)
	listeners[2]["address"] = "unix:" + folder + "/echo.sock"
	l := w.found(raceBinary, config)
	l.upload("a", uploaded)
	var kept []net.Conn
	for range 4 {
		kept = append(kept, w.dial(l.listeners["kept"]))
	}
	byFile := func() net.Conn {
		c, err := net.Dial("unix", folder+"/echo.sock")
		w.must(err)
		w.Cleanup(func() { c.Close() })
		c.SetDeadline(w.deadline())
		return c
	}
	kept = append(kept, byFile())
	gone := w.dial(l.listeners["gone"])
	for i, c := range append(kept, gone) {
		wantEcho(w, c, fmt.Sprint("before ", i))
	}
	fresh := w.freeAddress()
	l.rewrite(with(config, object{
		"listeners": []object{listeners[0], listeners[2], {"name": "fresh", "protocol": "tcp", "pool": "c", "address": fresh}},
		"pools":     []object{{"name": "a", "servers": []any{stays}}, {"name": "c", "servers": []any{comes}}},
	}))
	l.upgraded()
	for i, c := range kept {
		wantEcho(w, c, fmt.Sprint("after ", i))
	}
	wantEcho(w, gone, "still in the old process")
	wantEcho(w, w.dial(fresh), "on a new listener")
	wantEcho(w, byFile(), "by the file of the old")
	if _, there := l.server("a", uploaded); !there {
		t.Error("what was uploaded is not there")
	}
	if c, err := net.DialTimeout("tcp", l.listeners["gone"], time.Second); err == nil {
		w.eventually("nobody serves what is gone", func() bool { return saidBack(c, 1) != nil })
		c.Close()
	}
	l.upload("c", uploaded)
	l.awaitHeir() // what it could not move ends at its shutdown_timeout
	if _, err := gone.Read(make([]byte, 1)); err == nil {
		t.Error("a connection of a listener that is gone is still open")
	}
	for i, c := range kept {
		wantEcho(w, c, fmt.Sprint("at last ", i))
	}
	status, text, err := l.ask("POST", "/drain?timeout=1m", "")
	if err != nil || status != 200 {
		t.Fatal(status, text, err)
	}
	if _, refusal := l.tryUpgrade(); !strings.Contains(refusal, "undrain") {
		t.Errorf("upgraded while it drains: %q", refusal)
	}
}
