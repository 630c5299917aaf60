package loop

import (
	"net/netip"
	"testing"
)

// places is an AcceptHandler that admits as many connections as it has places.
type places struct {
	accepting
	ln             *Listener
	free, accepted int
}

func (p *places) Admit() bool {
	if p.free == 0 {
		p.ln.Pause()
		return false
	}
	p.free--
	return true
}

func (p *places) Unadmit() { p.free++ }

func (p *places) Accepted(c *Conn) {
	p.accepted++
	p.accepting.Accepted(c)
}

func withPlaces(w *world, free int) (p *places, at netip.AddrPort) {
	p = &places{accepting: accepting{stopped: make(chan struct{})}, free: free}
	ln, at := w.listen(p)
	w.do(func() { p.ln = ln })
	return p, at
}

func (w *world) wantPlaces(p *places, free, accepted int) {
	w.t.Helper()
	w.do(func() {
		if p.free != free || p.accepted != accepted {
			w.t.Errorf("%d places are free and %d are accepted, want %d and %d", p.free, p.accepted, free, accepted)
		}
	})
}

func TestOnlyWhoIsAdmittedIsAccepted(t *testing.T) {
	w := start(t)
	p, at := withPlaces(w, 3)
	clients := connectAll(t, at, 5)
	wantEchoes(t, clients[:3])
	w.wantIdle()
	w.wantPlaces(p, 0, 3)
	w.do(func() {
		if !p.ln.Waiting() {
			t.Error("those who are not admitted are not waiting")
		}
		p.free = 10
		p.ln.Resume()
	})
	wantEchoes(t, clients)
	// Places that were taken for nobody are given back.
	w.wantPlaces(p, 8, 5)
	w.do(func() {
		if p.ln.Waiting() {
			t.Error("there are connections in the queue")
		}
		p.ln.Close()
		if p.ln.Waiting() {
			t.Error("there are connections in the queue of a closed socket")
		}
	})
}

// A drain does not end as long as somebody waits to be admitted.
func TestADrainWaitsForThoseNotAdmitted(t *testing.T) {
	w := start(t)
	p, at := withPlaces(w, 0)
	release := w.hold()
	clients := connectAll(t, at, 3)
	w.Post(func() { p.ln.Drain() })
	release()
	w.do(func() { p.ln.Resume() })
	for i := range clients {
		w.passes(2 * drainWindow)
		w.wantPlaces(p, 0, i)
		select {
		case <-p.stopped:
			t.Fatal("the drain has ended with clients in the queue")
		default:
		}
		w.do(func() { p.free++; p.ln.Resume() })
	}
	wantEchoes(t, clients)
	within(t, p.stopped, "the drain does not end")
}
