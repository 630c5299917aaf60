package supervisor

import (
	"strconv"

	"fulcrum/admin"
	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/pool"
	"fulcrum/stats"
)

// seenBy returns what some listeners saw of a server, all of them together: nil if
// there are none.
func seenBy[S any, L interface{ AddServerStats(*pool.Server, *S) }](listeners []L, server *pool.Server) *S {
	if len(listeners) == 0 {
		return nil
	}
	sum := new(S)
	for _, l := range listeners {
		l.AddServerStats(server, sum)
	}
	return sum
}

func tcpTraffic(s *l4.Stats) *admin.Traffic {
	if s == nil {
		return nil
	}
	return &admin.Traffic{
		Accepted:   s.Accepted,
		Active:     s.Active,
		ToUpstream: s.ToUpstream,
		ToClient:   s.ToClient,
		Ends:       named(s.Ends[:], func(i int) string { return l4.Cause(i).String() }),
		Connect:    describeTimes(&s.ConnectTime),
		FirstByte:  describeTimes(&s.FirstByte),
		Duration:   describeTimes(&s.Duration),
	}
}

func httpTraffic(s *httpproxy.Stats) *admin.HTTPTraffic {
	if s == nil {
		return nil
	}
	return &admin.HTTPTraffic{
		Requests:  s.Requests,
		Active:    s.Active,
		Endings:   named(s.Endings[:], func(i int) string { return httpproxy.Ending(i).String() }),
		Statuses:  named(s.Statuses[:], func(i int) string { return strconv.Itoa(i) + "xx" }),
		Received:  s.Received,
		Sent:      s.Sent,
		Retries:   s.Retries,
		Connects:  s.Connects,
		Reuses:    s.Reuses,
		Connect:   describeTimes(&s.ConnectTime),
		FirstByte: describeTimes(&s.FirstByte),
		Duration:  describeTimes(&s.Duration),
	}
}

// named returns the counts that are not 0, by name.
func named(counts []int64, name func(int) string) map[string]int64 {
	all := make(map[string]int64)
	for i, n := range counts {
		if n != 0 {
			all[name(i)] = n
		}
	}
	return all
}

func describeTimes(s *stats.Summary) admin.Durations {
	return admin.Durations{
		Count: s.Count(),
		P50MS: milliseconds(s.Quantile(0.5)),
		P99MS: milliseconds(s.Quantile(0.99)),
	}
}
