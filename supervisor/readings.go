package supervisor

import (
	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/pool"
	"fulcrum/series"
	"fulcrum/stats"
)

// reading returns how far the counts of a listener have come, and how many of its
// clients' connections are open.
func (l *listener) reading() (r series.Reading, open int64) {
	if l.tcp != nil {
		sum := l.tcp.Stats()
		addTCP(&r, &sum)
		for _, c := range []l4.Cause{l4.NoneReady, l4.AllFull, l4.QueueFull, l4.QueueTimeout, l4.ConnectFailed, l4.NoResources} {
			r.Errors += sum.Ends[c]
		}
		return r, sum.Active
	}
	sum := l.http.Stats()
	addHTTP(&r, &sum)
	r.Errors += sum.Endings[httpproxy.CutShort]
	return r, sum.Open
}

// readingOf returns how far the counts of a server have come that some listeners
// feed, together with the failures that its pool knows of.
func readingOf(server *pool.Server, failures int64, tcp []*l4.Listener, http []*httpproxy.Proxy) series.Reading {
	r := series.Reading{Errors: failures}
	if sum := seenBy(tcp, server); sum != nil {
		addTCP(&r, sum)
	}
	if sum := seenBy(http, server); sum != nil {
		addHTTP(&r, sum)
	}
	return r
}

func addTCP(r *series.Reading, s *l4.Stats) {
	r.Begun += s.Accepted
	r.Errors += s.Ends[l4.ServerReset] + s.Ends[l4.InternalError]
	r.Received += s.ToUpstream
	r.Sent += s.ToClient
	r.Active += s.Active
	r.Times.AddSince(&stats.Summary{}, &s.FirstByte)
}

func addHTTP(r *series.Reading, s *httpproxy.Stats) {
	r.Begun += s.Requests
	r.Errors += s.Statuses[5]
	r.Received += s.Received
	r.Sent += s.Sent
	r.Active += s.Active
	r.Times.AddSince(&stats.Summary{}, &s.FirstByte)
}
