package l4

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fulcrum/accesslog"
	"fulcrum/pool"
	"fulcrum/proxyproto"
)

// update changes the listener's options and waits until all its loops go by them.
func (w *world) update(change func(*Options)) {
	w.t.Helper()
	change(&w.options)
	w.Update(w.options)
	for _, l := range w.loops {
		done := make(chan struct{})
		l.Post(func() { close(done) })
		<-done
	}
}

// another returns an upstream as w's, with a pool of its own whose server says its name
// first, if it has one, and echoes.
func (w *world) another(name string) *world {
	p, _ := pool.New(name, pool.Options{})
	to := *w.to
	to.Pool = p
	one := &world{t: w.t, pool: p, to: &to, loops: w.loops}
	one.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		if name != "" {
			c.Write([]byte(name + ":"))
		}
		echo(c)
	})
	return one
}

// Connections stay with the server that they have; those that come later go by the new
// options, and there is nothing left of the old ones but what was counted.
func TestUpdateLeavesConnectionsWhereTheyAre(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	other := w.another("other")
	w.start()
	old := w.dial()
	old.wantEcho()
	w.update(func(o *Options) { o.Default, o.Name = other.to, "renamed" })
	c := w.dial()
	c.Write([]byte("new"))
	c.wantRead("other:new")
	old.wantEcho()
	w.wantActive(1)
	other.wantActive(1)
	w.update(func(o *Options) { o.Default = nil })
	w.dial().wantClosed()
	w.wantEnds(ends{UnknownName: 1})
	old.wantEcho()
	c.Write([]byte("more"))
	c.wantRead("more")
	if s := w.Stats(); s.Accepted != 3 || s.Active != 2 {
		t.Errorf("accepted %d, active %d", s.Accepted, s.Active)
	}
	old.Close()
	c.Close()
	w.wantStats(counts{Accepted: 3, Refused: 1, ToUpstream: 22, ToClient: 28})
}

// A client that has not said all of where it wants to go is led by the routes that there
// are when it has, not to a pool that may be gone; its new server is told who it is, as
// that one demands.
func TestUpdateLeadsThoseWhoAreNotOnTheirWay(t *testing.T) {
	w := routed(t, "example.com")
	w.start()
	said := hello(t, "example.com")
	early, late := w.dial(), w.dial()
	for _, c := range []*client{early, late} {
		c.Write(said[:20])
		c.wantTaken()
	}
	eventually(t, "both are accepted", func() bool { return w.Stats().Active == 2 })
	next := w.another("next")
	w.update(func(o *Options) { o.Routes = []Route{{"example.com", next.to}} })
	early.Write(said[20:])
	early.wantRead("next:" + string(said))

	told := w.another("told")
	told.to.SendProxy = proxyproto.V1
	w.update(func(o *Options) { o.Routes, o.Default = nil, told.to })
	late.Write(said[20:])
	late.wantRead("told:" + string(late.header(proxyproto.V1)) + string(said))
	w.wantActive()
	next.wantActive(1)
	told.wantActive(1)
}

// A client that is in the middle of its PROXY header finishes it, and what the header
// tells goes on, wherever that now is.
func TestUpdateInTheMiddleOfAHeader(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.acceptFrom("127.0.0.0/8")
	w.echo(pool.ServerSpec{})
	w.start()
	header := proxyproto.Append(nil, proxyproto.V2, someClient, someAddress)
	c := w.dial()
	c.Write(header[:len(header)-1])
	eventually(t, "it is accepted", func() bool { return w.Stats().Active == 1 })
	told := w.another("told")
	told.to.SendProxy = proxyproto.V1
	w.update(func(o *Options) { o.AcceptProxy, o.Default = nil, told.to })
	c.Write(append(header[len(header)-1:], "hello"...))
	c.wantRead("told:" + string(proxyproto.Append(nil, proxyproto.V1, someClient, someAddress)) + "hello")
	c = w.dial()
	c.Write([]byte("new"))
	c.wantRead("told:" + string(c.header(proxyproto.V1)) + "new")
	w.update(func(o *Options) { w.acceptFrom("127.0.0.0/8") })
	c = w.dial()
	c.Write([]byte("GET / HTTP/1.1\r\n"))
	c.wantClosed()
	w.wantEnds(ends{BadHeader: 1})
}

// Time limits that become shorter hold for connections that have been idle already.
func TestUpdateChangesTimeLimits(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	first := w.echo(pool.ServerSpec{})
	w.start()
	idle := w.dial()
	idle.wantEcho()
	w.pool.Drain(first)
	goOn := make(chan struct{})
	w.serve(pool.ServerSpec{}, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		c.Write([]byte("x"))
		<-goOn
	})
	t.Cleanup(func() { close(goOn) })
	half := w.dial()
	half.CloseWrite()
	half.wantRead("x")
	w.update(func(o *Options) { o.HalfClosedTimeout = time.Millisecond })
	half.wantClosed()
	w.wantEnds(ends{HalfClosedIdle: 1})
	idle.wantEcho()
	w.update(func(o *Options) { o.IdleTimeout = time.Millisecond })
	idle.wantClosed()
	w.wantEnds(ends{HalfClosedIdle: 1, Idle: 1})
}

func (w *world) wantOpen(n int64) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); w.Stats().Active != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%d are open, want %d", w.Stats().Active, n)
		}
	}
}

// The limit on all connections changes with clients that wait and clients that are too
// many; in the end every place was given back.
func TestUpdateChangesMaxConnections(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.options.MaxConnections = 1
	w.echo(pool.ServerSpec{})
	w.start()
	most := func(n int, open int64) {
		t.Helper()
		w.update(func(o *Options) { o.MaxConnections = n })
		w.wantOpen(open)
	}
	var all []*client
	come := func(n int) {
		for range n {
			all = append(all, w.dial())
		}
	}
	leave := func(n int, open int64) {
		t.Helper()
		for _, c := range all[:n] {
			c.Close()
		}
		all = all[n:]
		w.wantOpen(open)
	}
	come(8)
	most(4, 4)
	most(2, 4)
	most(0, 8)
	come(2)
	w.wantOpen(10)
	most(3, 10)
	come(2) // they wait until there are fewer than 3
	leave(7, 3)
	if s := w.Stats(); s.Accepted != 10 {
		t.Errorf("%d were accepted while too many were open", s.Accepted)
	}
	leave(1, 3)
	leave(1, 3)
	for _, c := range all {
		c.wantEcho()
	}
	leave(3, 0)
	w.stop(soon)
	for i := range 3 {
		if !w.gate.Enter(w.workers[0]) {
			t.Fatalf("of 3 places only %d were given back", i)
		}
	}
	if w.gate.Enter(w.workers[0]) {
		t.Error("more places were given back than taken")
	}
}

// The limit for each client comes and goes; connections count from when there is one,
// until they end, whatever it is then.
func TestUpdateChangesMaxPerClient(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	most := func(n int) { w.update(func(o *Options) { o.MaxPerClient = n }) }
	served := func() *client {
		t.Helper()
		c := w.dial()
		c.wantEcho()
		return c
	}
	uncounted := []*client{served(), served(), served()}
	most(2)
	first, second := served(), served()
	w.dial().wantClosed()
	most(0)
	free := served()
	most(3)
	third := served()
	w.dial().wantClosed()
	for _, c := range append(uncounted, free) {
		c.Close()
	}
	w.wantActive(3)
	w.dial().wantClosed()
	most(0)
	for _, c := range []*client{first, second, third} {
		c.Close()
	}
	w.wantActive(0)
	most(1)
	last := served()
	w.dial().wantClosed()
	last.Close()
	w.wantActive(0)
	served()
	w.wantEnds(ends{ClientLimit: 4, ClientClosed: 8})
}

// lines opens an access log and returns what reads its lines, once it is closed.
func lines(t *testing.T) (log *accesslog.Log, read func() []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	log, err := accesslog.Open(path, accesslog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	return log, func() []string {
		t.Helper()
		log.Close()
		if n := log.Dropped(); n > 0 {
			t.Errorf("%d records came after the log was closed", n)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")[:strings.Count(string(b), "\n")]
	}
}

// A connection is recorded in the log that there is when it ends, if there is one. Once
// the loops have gone over to another, the old one can be closed.
func TestUpdateChangesTheAccessLog(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	first, readFirst := lines(t)
	second, readSecond := lines(t)
	end := func(c *client) {
		t.Helper()
		before := w.Stats().Active
		c.wantEcho()
		c.Close()
		eventually(t, "it has ended", func() bool { return w.Stats().Active == before-1 })
	}
	a, b, c, d := w.dial(), w.dial(), w.dial(), w.dial()
	for _, c := range []*client{a, b, c, d} {
		c.wantEcho()
	}
	end(a)
	w.update(func(o *Options) { o.AccessLog, o.Name = first, "one" })
	end(b)
	identified := w.dial()
	identified.wantEcho()
	w.update(func(o *Options) { o.AccessLog, o.Name = second, "two" })
	if got := readFirst(); len(got) != 1 || !strings.Contains(got[0], `"server":"`) {
		t.Errorf("in the first log: %q", got)
	}
	end(c)
	end(identified)
	w.update(func(o *Options) { o.AccessLog = nil })
	got := readSecond()
	end(d)
	if len(got) != 2 || strings.Contains(got[0], `"client"`) || !strings.Contains(got[1], `"client":"127.0.0.1:`) {
		t.Errorf("in the second log: %q", got)
	}
}

// Who waits for a place goes on waiting for the pool that it waits for, and what was
// limited stays limited, though the listener no longer feeds that pool.
func TestUpdateLeavesTheQueueOfAPool(t *testing.T) {
	w, served := queueing(t, 4)
	w.start()
	first := w.numbered(0, 0)
	wantNext(t, served, 0)
	second, third := w.numbered(1, 1), w.numbered(2, 2)
	other := w.another("other")
	w.update(func(o *Options) { o.Default = other.to })
	c := w.dial()
	c.Write([]byte("new"))
	c.wantRead("other:new")
	first.Close()
	wantNext(t, served, 1)
	third.Close()
	second.Close()
	w.wantActive(0)
	eventually(t, "nobody waits", func() bool { return w.pool.Queued() == 0 })
}

// Options change over and over while clients come and go, servers leave and come back
// and connections are closed: every client is served that is not closed by the
// operator, and nothing is left behind.
func TestUpdateUnderLoad(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	server := w.echo(pool.ServerSpec{})
	other := w.another("")
	log, read := lines(t)
	w.start()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := once(w.Address().String()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	changes := []func(*Options){
		func(o *Options) { o.Default = other.to },
		func(o *Options) { o.MaxConnections = 2 },
		func(o *Options) { o.MaxPerClient = 100 },
		func(o *Options) { o.AccessLog = log },
		func(o *Options) { o.IdleTimeout = time.Minute },
		func(o *Options) { o.Socket.Keepalive = time.Minute },
		func(o *Options) { o.Default = w.to },
		func(o *Options) { o.MaxConnections = 0 },
		func(o *Options) { o.MaxPerClient = 0 },
		func(o *Options) { o.IdleTimeout = time.Hour },
		func(o *Options) { o.Socket.Keepalive = 0 },
		func(o *Options) { o.AccessLog = nil },
	}
	for i := range 20 * len(changes) {
		w.update(changes[i%len(changes)])
		if i%3 == 0 {
			w.Forget(server)
		}
	}
	close(stop)
	all.Wait()
	w.stop(soon)
	read()
	other.wantActive(0)
	for _, worker := range w.workers {
		worker.loop.Post(func() {
			if n := len(worker.servers); n > 2 {
				t.Errorf("%d servers are kept", n)
			}
		})
	}
}
