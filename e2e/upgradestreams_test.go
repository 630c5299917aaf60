package e2e_test

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// TestStreamsOverUpgrades: through twenty upgrades in a row, some of which begin before
// the one before is over, no byte of 2,000 relayed connections is lost, doubled or
// reordered; all that is counted goes on, and nothing stays behind.
func TestStreamsOverUpgrades(t *testing.T) {
	const open, upgrades, shorts = 2000, 20, 5
	overEachIO(t, 4*time.Minute, func(w *world, io string) {
		s := w.streams(4, open)
		s.slow = open / 5
		l := w.found(plainBinary, w.fixed(s.config(io)))
		first := sockets(l.heir()) // those that listen stay the same; one of a request may be among them
		more := func() (n int) {
			for socket := range sockets(l.heir()) {
				if !first[socket] {
					n++
				}
			}
			return n
		}
		s.open(l.listeners["db"])
		began := time.Now()
		for i := range upgrades {
			l.upgraded()
			for range shorts {
				w.must(w.dial(l.listeners["db"]).Close())
			}
			if i%7 == 6 {
				l.awaitHeir()
				s.advance(s.alive())
			}
		}
		l.awaitHeir()
		w.Logf("%d upgrades took %s", upgrades, time.Since(began).Round(time.Millisecond))
		if n := len(s.alive()); n != open {
			w.Errorf("%d streams of %d go on", n, open)
		}
		s.advance(s.alive())
		w.eventually("those that were short are not counted any more", func() bool { return sum(active(l.balancer, "db")) == open })
		s.wantCounts(l.balancer, "db")
		if got := l.traffic("db"); got.Accepted != open+upgrades*shorts || got.Active != open {
			w.Errorf("of the listener is counted %+v, want %d accepted and %d active", got, open+upgrades*shorts, open)
		}
		total := int64(0)
		for _, server := range l.pools()["db"] {
			total += server.Total
		}
		if total != open+upgrades*shorts {
			w.Errorf("the servers have had %d connections, want %d", total, open+upgrades*shorts)
		}
		w.eventually("the last process has the sockets that the first had", func() bool { return more() == 2*open })

		sent := s.finish(s.all)
		w.Logf("%d and %d MiB went through", sent[0]>>20, sent[1]>>20)
		w.eventually("nothing is active", func() bool { return sum(active(l.balancer, "db")) == 0 })
		got := l.traffic("db")
		if got.ToUpstream != sent[0]+open*numberLength || got.ToClient != sent[1] {
			w.Errorf("of the listener are counted %d and %d bytes, want %d and %d", got.ToUpstream, got.ToClient, sent[0]+open*numberLength, sent[1])
		}
		if n := got.Accepted; got.Connect.Count != n || got.Duration.Count != n || sum(slices.Collect(maps.Values(got.Ends))) != n {
			w.Errorf("of the listener is counted %+v, want %d of each", got, n)
		}
		const spare = 100 // pipes are kept, and a few files
		if n := descriptors(w, l.heir()); n > len(first)+spare {
			w.Errorf("with nothing open process %d has %d descriptors", l.heir(), n)
		}
		w.eventually("no socket is left over", func() bool { return more() == 0 })
	})
}
