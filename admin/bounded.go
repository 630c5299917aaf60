package admin

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// A boundedListener accepts a connection only while fewer than its limit are
// open; the others wait in the kernel's queue, but for those of a peer that has
// maxPerPeer already, which are closed. A connection counts until the goroutine that
// serves it has ended, which is also how Stop knows.
type boundedListener struct {
	net.Listener
	wrap   func(net.Conn) net.Conn
	slots  chan struct{} // one element for each connection and each Accept under way
	closed chan struct{}
	once   func() error // closes the address the first time, returns the same later

	mu     sync.Mutex
	silent map[net.Conn]struct{} // connections on which nothing has come yet; guarded by mu
	peers  map[string]int        // connections by peer, those of this machine left out; guarded by mu
}

func newBoundedListener(l net.Listener, limit int, wrap func(net.Conn) net.Conn) *boundedListener {
	b := &boundedListener{
		Listener: l,
		wrap:     wrap,
		slots:    make(chan struct{}, limit),
		closed:   make(chan struct{}),
		silent:   make(map[net.Conn]struct{}),
		peers:    make(map[string]int),
	}
	b.once = sync.OnceValue(func() error {
		close(b.closed)
		return l.Close()
	})
	return b
}

// Accept waits for a slot, then for a connection.
func (b *boundedListener) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			<-b.slots
			return nil, err
		}
		known := b.wrap(conn)
		if b.admit(strangerOf(known)) {
			return known, nil
		}
		conn.Close()
	}
}

// strangerOf returns under which peer a connection counts, "" if it is from this machine.
func strangerOf(conn net.Conn) string {
	if local(conn.RemoteAddr()) {
		return ""
	}
	return peerOf(from(conn).remote)
}

// admit counts a connection of a peer, unless it has too many.
func (b *boundedListener) admit(peer string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if peer == "" {
		return true
	}
	if b.peers[peer] >= maxPerPeer {
		return false
	}
	b.peers[peer]++
	return true
}

// Close closes the address and ends an Accept under way. It may be called more
// than once.
func (b *boundedListener) Close() error { return b.once() }

// connState is the http.Server's hook: StateClosed is the last thing that the
// goroutine of each accepted connection reports.
func (b *boundedListener) connState(conn net.Conn, state http.ConnState) {
	b.mu.Lock()
	if state == http.StateNew {
		b.silent[conn] = struct{}{}
	} else {
		delete(b.silent, conn)
	}
	if peer := strangerOf(conn); state == http.StateClosed && peer != "" {
		if b.peers[peer]--; b.peers[peer] == 0 {
			delete(b.peers, peer)
		}
	}
	b.mu.Unlock()
	if state == http.StateClosed {
		<-b.slots
	}
}

// awaitSilent gives those on which nothing has come yet a moment to ask.
func (b *boundedListener) awaitSilent(ctx context.Context) {
	tick := time.NewTicker(silentGrace / 100)
	defer tick.Stop()
	for range 100 {
		b.mu.Lock()
		n := len(b.silent)
		b.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// closeSilent closes the connections on which nothing has come yet. Shutdown
// would wait for them as if they were requests.
func (b *boundedListener) closeSilent() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.silent {
		conn.Close()
	}
}

// wait takes all slots, so that none can be left in use, and returns how many
// it could not get in time. Nothing is accepted afterwards.
func (b *boundedListener) wait(timeout time.Duration) (left int) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for taken := range cap(b.slots) {
		select {
		case b.slots <- struct{}{}:
		case <-timer.C:
			return cap(b.slots) - taken
		}
	}
	return 0
}
