package httpproxy

import (
	"sync/atomic"
	"time"

	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/relay"
	"fulcrum/stats"
)

const (
	spareExchanges = 256 // unused ones kept by a worker
	spareBuffers   = 64
	maxSpareBuffer = 32 << 10
	maxSpareHead   = 8 << 10
	maxScratch     = 256 << 10

	// What a server's head may have, even if a request's may not.
	answerBytes  = 64 << 10
	answerFields = 500
)

// A worker is a listener's part on one loop: its listening socket, the clients
// that came in by it and the connections to servers that these use. All of it
// belongs to the loop.
type worker struct {
	p        *Proxy
	plan     *plan
	loop     *loop.Loop
	port     *loop.Listener // nil before it listens and after it has stopped
	clients  *client        // the newest; they are linked
	servers  map[*pool.Server]*serverSet
	retiring bool          // nothing is accepted or kept any more
	giving   bool          // clients are to leave as soon as they are idle
	finished chan struct{} // closed when the socket and all connections are
	cut      int           // clients that stopNow closed; read once finished

	// What one handler at a time makes use of.
	requests *parser
	answers  *parser
	out      []byte  // what is about to be sent
	serving  *client // whose part the running handler is, should it panic
	entry    entry
	onward   onward
	line     []byte

	ways             []way     // the routes', and last that of requests that no route is for
	gone             []*counts // of routes that are, while requests are still on their way
	nowhere          counts    // of what was refused before its way was known
	accepted, closed atomic.Int64
	carried          atomic.Int64 // taken from other processes, less those given to them
	added            stats.Histogram
	sampler          *loop.Sampler[*exchange] // for added
	counts           map[*pool.Server]*counts // the loop reads; it writes, and others read, under p.mu

	spare   []*exchange
	buffers [][]byte

	relayed             relay.Bytes
	tunnels, webSockets relay.Options
}

func newWorker(p *Proxy, lp *loop.Loop, first *plan) *worker {
	w := &worker{
		p: p, loop: lp, servers: map[*pool.Server]*serverSet{}, finished: make(chan struct{}), counts: map[*pool.Server]*counts{},
	}
	w.sampler = loop.NewSampler[*exchange](lp, w.added.Observe)
	w.follow(first)
	return w
}

// follow goes over to a plan, the first one or another.
func (w *worker) follow(next *plan) {
	w.p.mu.Lock()
	w.ways = w.newWays(next)
	w.p.mu.Unlock()
	w.plan = next
	w.requests = newParser(next.MaxHeaderBytes, next.MaxHeaders)
	w.answers = newParser(max(next.MaxHeaderBytes, answerBytes), max(next.MaxHeaders, answerFields))
	w.tunnels = relay.Options{Idle: next.IdleTimeout, Moved: &w.relayed}
	w.webSockets = w.tunnels
	w.webSockets.Inspected = true // for their farewell
}

// update goes over to another plan.
func (w *worker) update(next *plan) {
	if w.port != nil && next.Socket != w.plan.Socket {
		w.setOptions(next)
	}
	hurry := next.IdleTimeout < w.plan.IdleTimeout
	w.follow(next)
	for c := w.clients; c != nil; c = c.next {
		c.follow(next)
	}
	for _, set := range w.servers {
		set.follow(next)
	}
	if hurry {
		w.hurry(next.IdleTimeout)
	}
}

// hurry has clients that are idle, in a tunnel or between two requests, heed a limit
// that has become shorter.
func (w *worker) hurry(limit time.Duration) {
	for c := w.clients; c != nil; c = c.next {
		switch {
		case c.tunnel != nil:
			c.tunnel.hurry()
		case c.stage == reading && len(c.in) == 0:
			c.hurry(limit)
		}
	}
}

func (w *worker) listen(socket int) {
	var err error
	if w.port, err = w.loop.Listen(socket, w); err != nil {
		w.plan.Logger.Error("a loop does not accept connections", "error", err)
		return
	}
	if w.p.inherited {
		w.setOptions(w.plan)
	}
}

// setOptions changes what is inherited by the connections that will be accepted.
func (w *worker) setOptions(p *plan) {
	if err := w.port.SetOptions(p.Socket); err != nil {
		p.Logger.Warn("options of a listening socket could not be changed", "error", err)
	}
}

// Admit takes a place for a connection that is about to be accepted, or leaves
// clients in the kernel's queue until one is free.
func (w *worker) Admit() bool {
	if w.p.gate.Enter(w) {
		return true
	}
	w.port.Pause()
	return false
}

// Unadmit gives a place back.
func (w *worker) Unadmit() { w.p.gate.Leave() }

// Wake tells, from any loop, that a place has become free.
func (w *worker) Wake() bool { return w.loop.Post(w.resume) }

// resume goes on accepting, or lets another worker if there is nothing to accept.
func (w *worker) resume() {
	if w.port != nil {
		w.port.Resume()
		if w.port.Waiting() {
			return
		}
	}
	w.p.gate.WakeNext()
}

// Resting passes on that descriptors have run out.
func (w *worker) Resting(err error) {
	if told := w.plan.Resting; told != nil {
		told(err)
	}
}

// Accepted begins to serve a client.
func (w *worker) Accepted(conn *loop.Conn) {
	w.accepted.Add(1)
	c := &client{w: w, conn: conn, stage: introducing}
	conn.SetHandler(c)
	w.add(c)
	w.serving = c
	c.identify(conn)
}

// Stopped: nothing more will be accepted.
func (w *worker) Stopped(*loop.Listener) {
	w.port = nil
	w.finish()
}

// retire stops accepting; the worker finishes with its last client.
func (w *worker) retire() {
	w.retiring = true
	switch {
	case w.port == nil:
	case w.p.borrowed:
		w.leavePort()
	default:
		w.port.Drain()
	}
	w.finish()
}

// leavePort stops accepting, and leaves who comes to others that have the socket too.
func (w *worker) leavePort() {
	if w.port != nil {
		w.port.Leave()
		w.port = nil
	}
}

// stopNow ends what is left, soon.
func (w *worker) stopNow() {
	if w.port != nil {
		w.port.Close()
		w.port = nil
	}
	for c := w.clients; c != nil; c = c.next {
		w.cut++
	}
	w.closeAll()
	w.finish()
}

func (w *worker) add(c *client) {
	if c.next = w.clients; c.next != nil {
		c.next.prev = c
	}
	w.clients = c
}

func (w *worker) remove(c *client) {
	w.closed.Add(1)
	w.removeFrom(c)
}

// removeFrom takes a client off the list, and gives its place back.
func (w *worker) removeFrom(c *client) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		w.clients = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	w.Unadmit()
	w.finish()
}

// finish closes the idle connections and says so, once nothing else is left.
func (w *worker) finish() {
	if !w.retiring || w.port != nil || w.clients != nil {
		return
	}
	select {
	case <-w.finished:
		return
	default:
	}
	for _, set := range w.servers {
		set.dropIdle()
	}
	close(w.finished)
}

// takeExchange returns an exchange for a client's request, to be given back.
func (w *worker) takeExchange(c *client) *exchange {
	n := len(w.spare)
	if n == 0 {
		x := &exchange{w: w, progress: blank}
		x.c = c
		return x
	}
	x := w.spare[n-1]
	w.spare = w.spare[:n-1]
	x.c = c
	return x
}

func (w *worker) giveExchange(x *exchange) {
	w.sampler.Drop(x)
	if len(w.spare) == spareExchanges || x.waiter != nil || cap(x.req.raw) > maxSpareHead {
		return
	}
	if x.replay = x.replay[:0]; cap(x.replay) > maxSpareHead {
		x.replay = nil
	}
	x.progress = blank
	w.spare = append(w.spare, x)
}

// takeBuffer returns an empty buffer for what has come in and cannot be used yet.
func (w *worker) takeBuffer() []byte {
	n := len(w.buffers)
	if n == 0 {
		return make([]byte, 0, 4<<10)
	}
	b := w.buffers[n-1]
	w.buffers = w.buffers[:n-1]
	return b
}

func (w *worker) giveBuffer(b []byte) {
	if len(w.buffers) < spareBuffers && cap(b) > 0 && cap(b) <= maxSpareBuffer {
		w.buffers = append(w.buffers, b[:0])
	}
}

// keep returns a buffer with what is left of what came in, in place of buffer,
// which rest may lie in. Nothing left needs no buffer.
func (w *worker) keep(buffer, rest []byte) []byte {
	switch {
	case len(rest) == 0:
		w.giveBuffer(buffer)
		return nil
	case buffer == nil:
		buffer = w.takeBuffer()
	}
	return append(buffer[:0], rest...)
}

// send passes on what was put together in w.out, or is to be kept for that.
func (w *worker) send(to transport, out []byte) {
	if len(out) > 0 {
		to.Send(out)
	}
	if w.out = out[:0]; cap(out) > maxScratch {
		w.out = nil
	}
}
