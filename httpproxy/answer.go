package httpproxy

import (
	"time"

	"fulcrum/pool"
)

// answer takes what has come from the server, all of it behind what was taken
// before. Nothing may be done with the exchange after it: another request may
// have taken its place.
func (x *exchange) answer(b []byte) {
	out, used := x.w.out[:0], 0
	for !x.begun {
		n, err := headEnd(b[used:], x.seen, x.w.answers.maxBytes)
		if n == 0 && err == nil {
			x.seen = len(b) - used
			x.u.in = x.w.keep(x.u.in, b[used:])
			x.w.send(x.c.conn, out)
			return
		}
		x.seen = 0
		if err == nil {
			err = x.ans.parse(x.w.answers, b[used:used+n])
		}
		if err != nil {
			x.w.send(x.c.conn, out)
			x.failed(err, BadAnswer)
			return
		}
		used += n
		switch code := x.ans.parsed.StatusCode(); {
		case code == 101:
			x.w.send(x.c.conn, out)
			x.upgrade(b[used:])
			return
		case code >= 200:
			out = x.begin(out)
		case x.interim == maxInterim:
			x.w.send(x.c.conn, out)
			x.failed(errSyntax, BadAnswer)
			return
		default:
			if x.awaits() {
				x.wanted()
			}
			x.interim++
			if !x.req.http10 {
				out = x.ans.appendInterim(out)
			}
		}
	}
	x.body(out, b[used:], 0)
}

// begin passes a final answer's head on, framed anew.
func (x *exchange) begin(out []byte) []byte {
	a, code := &x.ans, x.ans.parsed.StatusCode()
	bodyless := x.req.parsed.IsHead() || code == 204 || code == 304
	from, to := a.length, a.length
	switch {
	case bodyless:
		from = 0
		if code == 204 || to == lengthChunked {
			to = lengthNone
		}
	case from < 0 && x.req.http10:
		to = lengthNone
	case from < 0:
		to = lengthChunked
	}
	x.begun = true
	x.answered()
	x.down.begin(from)
	x.chunks = to == lengthChunked && !bodyless
	x.trailers = x.chunks && from == lengthChunked && x.req.takesTrailers
	x.untilClose = !bodyless && to == lengthNone
	x.reusable = a.keeps() && from != lengthNone
	x.verdict = keeps
	switch {
	case !x.up.ended():
		x.verdict = lingers
	case !x.req.keeps() || x.untilClose || x.w.draining():
		x.verdict = closes
	}
	connection := ""
	switch {
	case x.verdict != keeps:
		connection = "close"
	case x.req.http10:
		connection = "keep-alive"
	}
	return a.appendFinal(out, connection, to, x.trailers, x.way.answerEdits)
}

// body passes on what has come of the answer's body, behind out. Another n bytes
// of it were spliced.
func (x *exchange) body(out, b []byte, n int) {
	used := 0
	direct := !x.chunks && len(out) == 0
	var piece []byte
	for used < len(b) && !x.down.ended() {
		var size int
		var err error
		if piece, size, err = x.down.next(b[used:]); err != nil {
			x.w.send(x.c.conn, out)
			x.failed(err, BadAnswer)
			return
		}
		used += size
		x.delivered += int64(len(piece))
		if len(piece) > 0 && !direct {
			out = appendPiece(out, piece, x.chunks)
		}
		if direct && used < len(b) && !x.down.ended() {
			out, direct = append(out, piece...), false
		}
	}
	x.allowSplice(x.u.conn, x.c.conn, &x.down, x.chunks)
	if x.down.ended() {
		if x.chunks && x.trailers {
			out = appendTrailer(out, x.down.trailer)
		} else if x.chunks {
			out = append(out, lastChunk...)
		}
		x.release(used == len(b))
	}
	if direct && len(piece) > 0 {
		x.c.conn.Send(piece)
	}
	x.w.send(x.c.conn, out)
	if x.down.ended() {
		x.c.settle(x.verdict)
		return
	}
	if x.c.conn.Broken() {
		x.c.close(ClientReset)
		return
	}
	x.holdAnswer(max(len(b), n))
	x.u.in = x.w.keep(x.u.in, nil)
}

// allowSplice lets the rest of a body go from one connection to the other inside
// the kernel, if it is long and goes there as it comes.
func (x *exchange) allowSplice(from, to transport, b *body, chunks bool) {
	left := int64(0)
	if !chunks && b.length >= spliceLeast {
		left = b.left
	} else if b.length < spliceLeast {
		return // and never was
	}
	if a, z, ok := sockets(from, to); ok {
		a.SpliceAtMost(z, left)
	}
}

// spliced takes in that n bytes of a body went where they belong.
func (d *body) spliced(n int) {
	if d.left -= int64(n); d.left == 0 {
		d.state = bodyEnded
	}
}

// release ends the server's part once its answer has come to an end, before the
// client can know of that: whoever acts on the answer finds the server free.
func (x *exchange) release(clean bool) {
	u := x.u
	switch {
	case !x.up.ended():
		x.verdict = lingers
		fallthrough
	case !x.reusable, !clean, u.conn.Unsent() > 0, u.conn.Broken():
		x.dropUpstream()
	default:
		x.u, u.x = nil, nil
		u.put(x.ans.patience)
	}
	x.lease.Release(pool.Served)
	x.finish(Answered)
}

// holdAnswer has the server wait until the client has taken what there is, and
// sets the limits for that.
func (x *exchange) holdAnswer(n int) {
	now := x.w.loop.Now()
	x.u.alarm.start(x.u.conn, now, x.silence())
	if full(x.c.conn, n) {
		x.answerHeld = true
		x.u.conn.Pause()
		x.c.alarm.start(x.c.conn, now, x.w.plan.IdleTimeout)
	}
}

// silence returns how long the server may be silent within its answer: not for long if
// it takes no more of the request either.
func (x *exchange) silence() time.Duration {
	if x.uploadHeld {
		return x.to.ResponseTimeout
	}
	return maxSilence
}

// resumeAnswer goes on after the client has taken all it was sent.
func (x *exchange) resumeAnswer() {
	x.answerHeld = false
	x.heard = x.w.loop.Now()
	switch {
	case x.wantsMore():
		x.c.alarm.start(x.c.conn, x.heard, x.patience(x.heard))
	default:
		x.c.alarm.stop()
		x.c.look()
	}
	x.u.alarm.start(x.u.conn, x.heard, x.silence())
	x.u.conn.Resume()
}

// over takes the end of the server's connection, or what became of it.
func (x *exchange) over(err error) {
	if x.begun && err == errEnded && x.down.length == lengthNone {
		x.down.state = bodyEnded
		x.body(x.w.out[:0], nil, 0)
		return
	}
	ended := NoAnswer
	if isTimeout(err) {
		ended = AnswerTimeout
	}
	x.failed(err, ended)
}

// failed ends a request that gets no answer from its server, or no whole one. It
// is sent again if its connection was a kept one that has turned out to be closed.
func (x *exchange) failed(err error, ended Ending) {
	u, server := x.u, x.lease.Server()
	again := u.reused && !u.answered && ended == NoAnswer && x.replayable() && x.to.Pool.Retry(&x.tried, false)
	x.dropUpstream()
	if again {
		c := x.c
		c.alarm.stop()
		x.leave(ended)
		x.dial()
		c.proceed()
		return
	}
	x.w.plan.Logger.Debug("no whole answer", "server", server.Address(), "error", err)
	f, outcome := failure{code: 502, reason: "the server gave no valid answer", ended: ended}, pool.AnswerFailed
	switch ended {
	case AnswerTimeout:
		f = failure{code: 504, reason: "the server did not answer in time", ended: ended}
	case Drained:
		f.reason, outcome = "the server was taken out of service", pool.Served
	}
	x.lease.Release(outcome)
	switch {
	case !x.begun:
		x.fail(f)
	case ended == Drained:
		x.cutClient(ended)
	default:
		x.cutClient(CutShort)
	}
}

// cutClient ends an answer that cannot be completed so that the client can tell.
func (x *exchange) cutClient(ended Ending) {
	c, untilClose := x.c, x.untilClose
	x.finish(ended)
	c.x = nil
	c.w.giveExchange(x)
	if untilClose {
		c.conn.Abort() // a close would look like the end of the answer
		c.close(ended)
		return
	}
	c.stage = closing
	c.closeSoon()
}
