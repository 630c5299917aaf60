package httpproxy

import (
	"time"

	"fulcrum/pool"
)

// upload passes on what has come of the request's body, and returns how much it
// could use.
func (x *exchange) upload(b []byte) (used int) {
	if !x.sending || x.up.ended() || x.uploadHeld {
		return 0
	}
	chunked := x.up.length == lengthChunked
	out, head := x.w.out[:0], 0
	direct := !chunked && !x.headWaits
	if x.headWaits {
		out = append(out, x.out...)
		x.headWaits, head = false, len(out)
	}
	for used < len(b) && !x.up.ended() {
		piece, n, err := x.up.next(b[used:])
		used += n
		x.took(len(piece))
		switch {
		case err != nil:
			x.bodyFailed(badBody)
			return len(b)
		case x.tooLarge(x.received):
			x.bodyFailed(bodyTooLarge)
			return len(b)
		case len(piece) == 0:
		case direct:
			x.u.conn.Send(piece)
		default:
			out = appendPiece(out, piece, chunked)
		}
	}
	if chunked && x.up.ended() {
		out = append(out, lastChunk...)
	}
	if x.up.ended() && head > 0 && len(out)-head <= maxReplay && x.req.idempotent() {
		x.replay = append(x.replay, out[head:]...)
	}
	if x.awaits() {
		x.wanted()
	}
	x.taken = true
	x.allowSplice(x.c.conn, x.u.conn, &x.up, chunked)
	x.w.send(x.u.conn, out)
	x.uploaded(len(b))
	return used
}

// awaits reports whether the client waits for the server to want the body (RFC 9110,
// section 10.1.1).
func (x *exchange) awaits() bool {
	return x.req.expects && !x.taken && x.interim == 0 && !x.begun
}

// wanted begins to wait for the body of a client that has waited with it.
func (x *exchange) wanted() {
	now := x.w.loop.Now()
	x.due = now + bodyGrace
	x.u.alarm.stop()
	x.c.alarm.start(x.c.conn, now, x.patience(now))
}

// took counts n bytes of the request's body.
func (x *exchange) took(n int) {
	x.received += int64(n)
	if rate := x.plan.MinBodyRate; rate > 0 {
		x.due += time.Duration(n) * time.Second / time.Duration(rate)
	}
}

// tooLarge reports whether n bytes of a request's body are more than is allowed.
func (x *exchange) tooLarge(n int64) bool {
	most := x.plan.MaxBodyBytes
	return most > 0 && n > most
}

// patience returns how long the client may take over more of the body.
func (x *exchange) patience(now time.Duration) time.Duration {
	if x.plan.MinBodyRate > 0 {
		return min(x.plan.IdleTimeout, x.due-now)
	}
	return x.plan.IdleTimeout
}

// uploaded goes on after a part of the body, or the last, was passed on, of n bytes
// that came.
func (x *exchange) uploaded(n int) {
	if x.up.ended() {
		x.sent()
	} else {
		x.flow(n)
	}
}

// flow sets the limits for what comes next of the body: from the client, or to
// the server if that takes no more.
func (x *exchange) flow(n int) {
	now := x.w.loop.Now()
	x.uploadHeld, x.heldAt = full(x.u.conn, n) || x.u.conn.Broken(), now
	switch {
	case x.awaits():
		x.c.alarm.stop()
		x.u.alarm.start(x.u.conn, now, x.to.ResponseTimeout)
	case !x.uploadHeld:
		x.c.alarm.start(x.c.conn, now, x.patience(now))
	case !x.answerHeld:
		x.c.alarm.stop()
		fallthrough
	default:
		x.u.alarm.start(x.u.conn, now, x.to.ResponseTimeout)
	}
}

// resumeUpload goes on after the server has taken all it was sent.
func (x *exchange) resumeUpload() {
	if x.u.conn.Broken() {
		return // what the server has said about it is still to be read
	}
	now := x.w.loop.Now()
	if x.begun {
		x.u.alarm.start(x.u.conn, now, maxSilence)
	} else {
		x.u.alarm.stop()
	}
	x.uploadHeld = false
	x.due += now - x.heldAt
	if !x.answerHeld {
		x.c.alarm.start(x.c.conn, now, x.patience(now))
	}
	x.c.proceed()
}

// wantsMore reports whether nothing but more from the client can bring the request
// forward.
func (x *exchange) wantsMore() bool { return x.sending && !x.uploadHeld && !x.up.ended() }

// bodyFailed ends a request whose body is not to be had. Its server never sees
// one that looks complete.
func (x *exchange) bodyFailed(f failure) {
	x.dropUpstream()
	x.lease.Release(pool.Served)
	if x.begun {
		x.cutClient(f.ended)
		return
	}
	x.c.refuse(f, true)
	x.c.settle(lingers)
}
