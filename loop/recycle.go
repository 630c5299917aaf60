package loop

const spareConns = 1024 // structs of closed connections kept for reuse by a loop

// Recycle gives a closed connection back to the loop, to become another one: it
// is for owners that keep no pointer to it. Nothing is done to one that is open.
func (c *Conn) Recycle() {
	if c.fd < 0 && !c.retired {
		c.retired = true
		c.loop.retired = append(c.loop.retired, c)
	}
}

// recycle keeps the connections that were given back and that nothing refers to
// any more: neither the kernel nor what is still to be done in this turn.
func (l *Loop) recycle() {
	waiting := l.retired[:0]
	for _, c := range l.retired {
		switch {
		case c.inFlight > 0 || c.queued:
			waiting = append(waiting, c)
		case len(l.spareConns) < spareConns:
			*c = Conn{loop: l, fd: -1, retired: true} // closed, should anybody have kept it
			l.spareConns = append(l.spareConns, c)
		}
	}
	clear(l.retired[len(waiting):])
	l.retired = waiting
}

func (l *Loop) newConn() *Conn {
	n := len(l.spareConns)
	if n == 0 {
		return &Conn{}
	}
	c := l.spareConns[n-1]
	l.spareConns = l.spareConns[:n-1]
	return c
}
