package supervisor

import (
	"fulcrum/admin"
	"fulcrum/l4"
	"fulcrum/pool"
	"fulcrum/stats"
)

// seenOf returns what tcp listeners saw of a server, all of them together.
func seenOf(server *pool.Server, listeners []*l4.Listener) *admin.Traffic {
	var sum l4.Stats
	for _, l := range listeners {
		l.AddServerStats(server, &sum)
	}
	return traffic(&sum)
}

func traffic(s *l4.Stats) *admin.Traffic {
	t := &admin.Traffic{
		Accepted:   s.Accepted,
		Active:     s.Active,
		ToUpstream: s.ToUpstream,
		ToClient:   s.ToClient,
		Ends:       make(map[string]int64),
		Connect:    describeTimes(&s.ConnectTime),
		FirstByte:  describeTimes(&s.FirstByte),
		Duration:   describeTimes(&s.Duration),
	}
	for cause, n := range s.Ends {
		if n > 0 {
			t.Ends[l4.Cause(cause).String()] = n
		}
	}
	return t
}

func describeTimes(s *stats.Summary) admin.Durations {
	return admin.Durations{
		Count: s.Count(),
		P50MS: milliseconds(s.Quantile(0.5)),
		P99MS: milliseconds(s.Quantile(0.99)),
	}
}
