package loop

import (
	"math"

	"golang.org/x/sys/unix"
)

const (
	pipeSize     = 1 << 20  // bytes that a pipe is asked to hold
	mostPipes    = 64       // of a loop: more receivers than that which are slow at a time are sent copies
	sparePipes   = 16       // empty pipes kept for reuse by a loop
	spliceBudget = 1 << 20  // bytes that one connection may splice in one turn
	bulkLeast    = readSize // bytes in a turn below which splicing does not pay
)

// A pipe carries bytes from one socket to another inside the kernel (splice(2)).
type pipe struct {
	r, w int
	held int // bytes in it
}

// SpliceTo allows that bulk goes from this connection straight to another one on
// the same loop, which then counts it as Unsent until it is out. Spliced is
// called in place of Data for as long as much comes in at a time; both may come
// at any time. It is the same for the other side as bytes passed to Send.
func (c *Conn) SpliceTo(to *Conn) { c.SpliceAtMost(to, math.MaxInt64) }

// SpliceAtMost is SpliceTo for no more than the next n bytes that are spliced;
// Data does not count. It replaces what was allowed before; 0 allows nothing.
func (c *Conn) SpliceAtMost(to *Conn, n int64) { c.spliceTo, c.spliceLeft = to, n }

// splices reports whether the next bytes can be spliced: there is nothing in
// front of them, and a pipe to be had.
func (c *Conn) splices() bool {
	to := c.spliceTo
	if to == nil || c.spliceLeft < bulkLeast {
		c.bulk = false
		return false
	}
	if to.fd >= 0 {
		to.leave()
	}
	if !to.direct || to.fd < 0 || to.failure != 0 || to.hasUnsent() {
		c.bulk = false
		return false
	}
	p := c.loop.takePipe()
	if c.bulk = p != nil; c.bulk {
		to.takeOut()
		to.pipe = p
	}
	return c.bulk
}

// splice moves bytes until there are no more, the other side takes no more, or
// the budget of a turn is used up. The pipe goes back as soon as it is empty.
func (c *Conn) splice() {
	to, moved := c.spliceTo, 0
	for moved < spliceBudget && !c.still() && c.fd >= 0 && to.hasEmptyPipe() {
		n, err := rawSplice(int(c.fd), to.pipe.w, int(min(pipeSize, c.spliceLeft)))
		if n == 0 || err != nil {
			c.bulk = moved >= bulkLeast
			to.givePipeBack()
			c.readEnd(err)
			return
		}
		moved += n
		c.spliceLeft -= int64(n)
		to.pipe.held += n
		if _, err := to.drainPipe(); err != nil {
			to.sendFailed(err)
		}
		if c.bulk = c.spliceLeft > 0; !c.bulk {
			to.givePipeBack() // the handler may go on to send something else
			c.handler.Spliced(c, n)
			return
		}
		c.handler.Spliced(c, n)
	}
	to.givePipeBack()
}

func (c *Conn) hasEmptyPipe() bool {
	return c.outgoing != nil && c.pipe != nil && c.pipe.held == 0
}

// flushPipe reports whether nothing is left of what was spliced.
func (c *Conn) flushPipe() (done bool, err error) {
	if c.pipe == nil {
		return true, nil
	}
	if done, err = c.drainPipe(); done {
		c.loop.givePipe(c.pipe)
		c.pipe = nil
	}
	return done, err
}

// drainPipe sends what is in the pipe and reports whether that was all.
func (c *Conn) drainPipe() (done bool, err error) {
	for c.pipe.held > 0 {
		n, err := rawSplice(c.pipe.r, int(c.fd), c.pipe.held)
		if err == unix.EAGAIN || err == nil && n == 0 {
			c.writable = false
			return false, nil
		}
		if err != nil {
			return false, err
		}
		c.pipe.held -= n
		c.progress = c.loop.now
	}
	return true, nil
}

// givePipeBack returns a pipe that is empty.
func (c *Conn) givePipeBack() {
	if c.hasEmptyPipe() {
		c.loop.givePipe(c.pipe)
		c.pipe = nil
		c.settle()
	}
}

// takePipe returns an empty pipe, or nil when the process can have no more.
func (l *Loop) takePipe() *pipe {
	if n := len(l.pipes); n > 0 {
		p := l.pipes[n-1]
		l.pipes = l.pipes[:n-1]
		return p
	}
	if l.pipesOpen == mostPipes {
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil
	}
	// A smaller pipe, where the limit on a user's pipes is reached, does as well.
	unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	l.pipesOpen++
	return &pipe{r: fds[0], w: fds[1]}
}

// givePipe keeps an empty pipe for reuse, or closes it.
func (l *Loop) givePipe(p *pipe) {
	if p.held == 0 && len(l.pipes) < sparePipes {
		l.pipes = append(l.pipes, p)
		return
	}
	l.pipesOpen--
	p.close()
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}
