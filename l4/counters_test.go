package l4

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"fulcrum/pool"
)

// Each way in which a relayed connection ends, as the client and the server do
// their parts.
func TestEndsAreCountedByCause(t *testing.T) {
	stories := []struct {
		name   string
		client func(c *client)
		server func(c *net.TCPConn)
		want   Cause
	}{
		{"client first", func(c *client) { c.CloseWrite(); io.ReadAll(c) }, func(c *net.TCPConn) { io.ReadAll(c) }, ClientClosed},
		{"server first", func(c *client) { io.ReadAll(c); c.Close() }, func(c *net.TCPConn) { c.CloseWrite(); io.ReadAll(c) }, ServerClosed},
		{"client reset", func(c *client) { c.wantRead("x"); c.SetLinger(0); c.Close() }, func(c *net.TCPConn) { c.Write([]byte("x")); io.ReadAll(c) }, ClientReset},
		{"server reset", func(c *client) { c.Write([]byte("x")); io.ReadAll(c) }, func(c *net.TCPConn) { c.Read(make([]byte, 1)); c.SetLinger(0) }, ServerReset},
		{"idle", func(c *client) { io.ReadAll(c) }, func(c *net.TCPConn) { io.ReadAll(c) }, Idle},
		{"half-closed", func(c *client) { io.ReadAll(c) }, func(c *net.TCPConn) { c.CloseWrite(); io.ReadAll(c) }, HalfClosedIdle},
	}
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			w := prepare(t, pool.LeastConnections)
			if story.want == Idle {
				w.options.IdleTimeout = 100 * time.Millisecond
			}
			if story.want == HalfClosedIdle {
				w.options.HalfClosedTimeout = 100 * time.Millisecond
			}
			server := w.serve(pool.ServerSpec{}, story.server)
			w.start()
			c := w.dial()
			story.client(c)
			w.wantEnds(ends{story.want: 1})
			if n := w.ServerStats(server).Ends[story.want]; n != 1 {
				t.Errorf("of the server %d ended so", n)
			}
			if s := w.Stats(); s.Refused() != 0 || s.Duration.Count() != 1 {
				t.Errorf("%d are refused, and %d have a duration", s.Refused(), s.Duration.Count())
			}
		})
	}
}

// Of one in seventeen connections of each loop it is measured what the listener added.
func TestWhatIsAdded(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	w.echo(pool.ServerSpec{})
	w.start()
	began := time.Now()
	for range 3 * 17 {
		c := w.dial()
		c.wantEcho()
		c.Close()
	}
	want := int64(0)
	for _, k := range w.workers {
		over := make(chan struct{})
		k.loop.Post(func() { close(over) }) // and with it the turn of its last connection
		<-over
		want += (k.accepted.Load() + 16) / 17
	}
	s := w.Stats()
	if n := s.Added.Count(); n != want {
		t.Errorf("measured of %d, want %d", n, want)
	}
	if added := s.Added.Seconds(); added <= 0 || added > time.Since(began).Seconds() {
		t.Errorf("%v s are added", added)
	}
}

func TestWhatIsClosedByOrderIsDrained(t *testing.T) {
	w := prepare(t, pool.LeastConnections)
	one := w.echo(pool.ServerSpec{})
	w.start()
	c := w.dial()
	c.wantEcho()
	w.CloseServer(one)
	c.wantClosed()
	w.wantEnds(ends{Drained: 1})
	w.dial().wantEcho()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	within(t, w.stopping(ctx), soon)
	w.wantEnds(ends{Drained: 2})
}

// What a server's counts are goes over into the listener's when it is forgotten,
// and is still there when its connections outlive that.
func TestWhatIsForgottenIsNotLost(t *testing.T) {
	w := prepare(t, pool.RoundRobin)
	one, two := w.echo(pool.ServerSpec{}), w.echo(pool.ServerSpec{})
	w.start()
	var all []*client
	for range 8 {
		c := w.dial()
		c.wantEcho()
		all = append(all, c)
	}
	for _, s := range []*pool.Server{one, two} {
		if s := w.ServerStats(s); s.Accepted != 4 || s.Active != 4 || s.ToUpstream != 20 || s.ToClient != 20 ||
			s.ConnectTime.Count() != 4 || s.FirstByte.Count() != 4 || s.Duration.Count() != 0 {
			t.Errorf("stats of a server: %+v", s)
		}
	}
	var sum Stats
	w.AddServerStats(one, &sum)
	w.AddServerStats(two, &sum)
	if sum.Accepted != 8 || sum.ConnectTime.Count() != 8 {
		t.Errorf("stats of both: %+v", sum)
	}

	w.Forget(one)
	w.Forget(two)
	for _, c := range all[:4] {
		c.Close()
	}
	eventually(t, "four have ended", func() bool { return w.Stats().Active == 4 })
	for _, c := range all[4:] {
		c.wantEcho()
		c.Close()
	}
	w.wantStats(counts{Accepted: 8, ToUpstream: 60, ToClient: 60})
	w.wantEnds(ends{ClientClosed: 8})
	if s := w.Stats(); s.ConnectTime.Count() != 8 || s.FirstByte.Count() != 8 || s.Duration.Count() != 8 {
		t.Errorf("stats of the listener: %+v", s)
	}
	w.mustBeForgotten()

	w.dial().wantEcho() // one that is used again is counted anew
	if n := w.ServerStats(one).Accepted + w.ServerStats(two).Accepted; n != 1 {
		t.Errorf("%d are counted of servers that were forgotten", n)
	}
	w.wantStats(counts{Accepted: 9, Active: 1, ToUpstream: 65, ToClient: 65})
}

func (w *world) mustBeForgotten() {
	w.t.Helper()
	eventually(w.t, "no loop counts anything of a server", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, worker := range w.workers {
			if len(worker.servers) > 0 {
				return false
			}
		}
		return true
	})
}

func TestCausesHaveNames(t *testing.T) {
	names := map[string]bool{}
	for c := range Cause(Causes) {
		names[c.String()] = true
		if c.Refusal() != (c >= NoneReady) {
			t.Errorf("%v: a refusal is %v", c, c.Refusal())
		}
	}
	if len(names) != Causes || names[""] {
		t.Errorf("causes are called %v", names)
	}
}
