package supervisor

import (
	"math"
	"sort"
	"time"

	"fulcrum/admin"
	"fulcrum/l4"
	"fulcrum/pool"
)

// seenOf returns what tcp listeners saw of a server, all of them together.
func seenOf(server *pool.Server, listeners []*l4.Listener) *admin.Traffic {
	var all []l4.Stats
	for _, l := range listeners {
		if seen := l.ServerStats(server); seen.Accepted > 0 {
			all = append(all, seen)
		}
	}
	return traffic(all...)
}

// traffic returns the sum of stats.
func traffic(all ...l4.Stats) *admin.Traffic {
	t := &admin.Traffic{Ends: make(map[string]int64)}
	var connect, firstByte, duration durations
	for i := range all {
		s := &all[i]
		t.Accepted += s.Accepted
		t.Active += s.Active
		t.ToUpstream += s.ToUpstream
		t.ToClient += s.ToClient
		for cause, n := range s.Ends {
			if n > 0 {
				t.Ends[l4.Cause(cause).String()] += n
			}
		}
		connect = append(connect, &s.ConnectTime)
		firstByte = append(firstByte, &s.FirstByte)
		duration = append(duration, &s.Duration)
	}
	t.Connect, t.FirstByte, t.Duration = connect.describe(), firstByte.describe(), duration.describe()
	return t
}

// summary is what is asked of a sum of histograms (package stats).
type summary interface {
	Count() int64
	Quantile(q float64) time.Duration
	Below(d time.Duration) int64
}

// durations are summaries that are looked at as one.
type durations []summary

func (d durations) describe() admin.Durations {
	return admin.Durations{
		Count: d.count(),
		P50MS: milliseconds(d.quantile(0.5)),
		P99MS: milliseconds(d.quantile(0.99)),
	}
}

func (d durations) count() (n int64) {
	for _, s := range d {
		n += s.Count()
	}
	return n
}

// quantile is that of the one summary there is, or of several the bucket's bound
// above it: up to which durations are counted exactly, so that sums are right.
func (d durations) quantile(q float64) time.Duration {
	n := d.count()
	if n == 0 {
		return 0
	}
	if len(d) == 1 {
		return d[0].Quantile(q)
	}
	const perOctave, octaves = 4, 32
	bound := func(i int) time.Duration {
		return time.Microsecond << (i / perOctave) * time.Duration(perOctave+i%perOctave) / perOctave
	}
	rank := int64(math.Ceil(q * float64(n)))
	return bound(sort.Search(perOctave*octaves, func(i int) bool {
		below := int64(0)
		for _, s := range d {
			below += s.Below(bound(i))
		}
		return below >= rank
	}))
}
