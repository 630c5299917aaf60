package httpproxy

import (
	"bytes"
	"time"

	"fulcrum/pool"
)

// trace is what is known of a request's way, for what is counted of it and its
// record in the access log.
type trace struct {
	route, server *counts       // what it counts on; nil: it has not come to that, or is over
	at            *pool.Server  // it was given to last
	began         time.Duration // in the loop's time: its head had come,
	sentAt        time.Duration // and began to go to a server
	queued        time.Duration // from began to when there was a server; these three are negative before it has come to that
	connectTime   time.Duration // from the dial to being connected, if the connection was not a kept one
	firstByte     time.Duration // from sentAt to the head of the answer
	tries         int
	reused        bool
	status        int   // of the answer, if one was begun
	delivered     int64 // bytes of its body, from a server
	own           int64 // or by this proxy
}

// enter begins to count a request, and says where it is to go.
func (x *exchange) enter(w *way) {
	x.way, x.to, x.trace.route = w, w.to, w.counts
	w.counts.requests.Add(1)
}

// visit counts the request on the server that it is about to go to, by a kept
// connection or not.
func (x *exchange) visit(reused bool) {
	x.at = x.lease.Server()
	x.server, x.reused, x.connectTime = x.w.countsOf(x.at), reused, -1
	x.server.requests.Add(1)
	if x.tries++; x.tries == 1 {
		x.queued = x.w.loop.Now() - x.began
	} else {
		x.server.retries.Add(1)
		x.trace.route.retries.Add(1)
	}
	if reused {
		x.server.reuses.Add(1)
		x.trace.route.reuses.Add(1)
	}
}

// connected counts a connection that was made for the request.
func (x *exchange) connected(took time.Duration) {
	x.connectTime = took
	for _, c := range [...]*counts{x.server, x.trace.route} {
		c.connects.Add(1)
		c.connectTime.Observe(took)
	}
}

// answered counts that an answer has begun.
func (x *exchange) answered() {
	x.w.sampler.End(x)
	x.status, x.firstByte = x.ans.parsed.StatusCode(), x.w.loop.Now()-x.sentAt
	for _, c := range [...]*counts{x.server, x.trace.route} {
		c.statuses[x.status/100].Add(1)
		c.firstByte.Observe(x.firstByte)
	}
}

// leave counts that the server it was at did not serve the request, which is not
// over.
func (x *exchange) leave(ended Ending) {
	x.server.endings[ended].Add(1)
	x.server = nil
}

// finish counts the end of the request and writes its record. It comes before
// the client can know of the end, and once: what comes later is not counted.
func (x *exchange) finish(ended Ending) {
	if x.trace.route == nil {
		return
	}
	if !x.begun && x.status > 0 {
		x.trace.route.statuses[x.status/100].Add(1)
	}
	took := x.w.loop.Now() - x.began
	x.trace.route.end(ended, x.received, x.delivered+x.own)
	x.trace.route.duration.Observe(took)
	if c := x.server; c != nil {
		c.end(ended, x.received, x.delivered)
		c.duration.Observe(took)
	}
	if x.w.plan.AccessLog != nil {
		x.w.log(x.entry(ended))
	}
	x.server, x.trace.route = nil, nil
}

// finish counts and records what came to no request.
func (c *client) finish(f failure) {
	c.w.nowhere.end(f.ended, 0, f.size())
	if f.code > 0 {
		c.w.nowhere.statuses[f.code/100].Add(1)
	}
	if c.w.plan.AccessLog != nil {
		c.w.log(&entry{time: time.Now(), listener: c.w.plan.Name, client: c.address, status: f.code, sent: f.size(),
			queue: -1, connect: -1, firstByte: -1, total: -1, ended: f.ended})
	}
}

// entry returns what there is to say of the request in the access log, to be read
// at once.
func (x *exchange) entry(ended Ending) *entry {
	e := &x.w.entry
	*e = entry{
		time:      time.Now(),
		listener:  x.w.plan.Name,
		client:    x.c.address,
		status:    x.status,
		received:  x.received,
		sent:      x.delivered + x.own,
		tries:     x.tries,
		reused:    x.reused,
		queue:     x.queued,
		connect:   x.connectTime,
		firstByte: x.firstByte,
		total:     x.w.loop.Now() - x.began,
		ended:     ended,
	}
	if x.way != nil {
		e.route = x.way.name
	}
	if x.to != nil {
		e.pool = x.to.Pool.Name()
	}
	if x.at != nil {
		e.server = x.at.Address()
	}
	if r := &x.req; len(r.raw) > 0 {
		e.method, e.target, e.host, e.protocol = r.parsed.Method(), r.parsed.RequestURI(), r.host, r.parsed.Protocol()
		for i := range r.fields {
			switch f := &r.fields[i]; {
			case is(f.name, "referer"):
				e.referer = f.value
			case is(f.name, "user-agent"):
				e.userAgent = f.value
			}
		}
	}
	return e
}

// clone returns a copy that may be kept.
func (e *entry) clone() *entry {
	c := *e
	for _, text := range [...]*[]byte{&c.method, &c.target, &c.host, &c.protocol, &c.referer, &c.userAgent} {
		*text = bytes.Clone(*text)
	}
	return &c
}

// log writes a record, unless there is no access log any more.
func (w *worker) log(e *entry) {
	if w.plan.AccessLog == nil {
		return
	}
	if w.plan.Combined {
		w.line = e.appendCombined(w.line[:0])
	} else {
		w.line = e.appendJSON(w.line[:0])
	}
	w.plan.AccessLog.Write(w.line)
}

// end counts the end of a request or tunnel, and the bytes that it moved.
func (c *counts) end(ended Ending, received, sent int64) {
	c.endings[ended].Add(1)
	if received > 0 {
		c.received.Add(received)
	}
	if sent > 0 {
		c.sent.Add(sent)
	}
}
