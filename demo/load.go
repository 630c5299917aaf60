package demo

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxRequestsPerSecond = 1000
	maxLoadConnections   = 64

	loadTimeout   = 5 * time.Second // for one request, one line, one connect
	loadBodyBytes = 64 << 10        // of an answer; more makes it failed
	loadHeadBytes = 64 << 10

	maxNames     = 64 // that are counted apart
	maxNameBytes = 64
	otherName    = "other" // what answers with further names are counted under
)

// LoadOptions are the settings of StartLoad. A number or duration of 0 or less
// means its default.
type LoadOptions struct {
	HTTPAddress string // host:port to send GET / to; empty: no http load
	TCPAddress  string // host:port that leads to the demo's TCP servers; empty: no tcp load

	RequestsPerSecond int           // http, all connections together; default 50, at most 1000
	HTTPConnections   int           // kept alive; default 4, at most 64
	TCPConnections    int           // open at once; default 4, at most 64
	LineInterval      time.Duration // tcp, between the lines of one connection; default 200ms, at least 1ms
	ReconnectAfter    time.Duration // tcp, how long a connection lasts (one line at least); default 4s, made up to a quarter shorter at random
}

func (o LoadOptions) withDefaults() LoadOptions {
	number := func(value, standard, most int) int { return min(cmp.Or(max(value, 0), standard), most) }
	o.RequestsPerSecond = number(o.RequestsPerSecond, 50, maxRequestsPerSecond)
	o.HTTPConnections = number(o.HTTPConnections, 4, maxLoadConnections)
	o.TCPConnections = number(o.TCPConnections, 4, maxLoadConnections)
	o.LineInterval = max(cmp.Or(max(o.LineInterval, 0), 200*time.Millisecond), time.Millisecond)
	o.ReconnectAfter = cmp.Or(max(o.ReconnectAfter, 0), 4*time.Second)
	return o
}

// Counts is what came of a load so far.
type Counts struct {
	HTTPOK     int64 // requests answered with 200 and a whole body
	HTTPFailed int64 // all other requests
	TCPOK      int64 // lines that came back as they should
	TCPFailed  int64 // connections refused, or that ended otherwise than asked

	// Servers splits HTTPOK by the X-Served-By of the answers. It holds at
	// most 64 names besides "other".
	Servers map[string]int64
}

// Load is a running load.
type Load struct {
	options LoadOptions
	cancel  context.CancelFunc
	running sync.WaitGroup
	client  *http.Client

	httpOK, httpFailed, tcpOK, tcpFailed atomic.Int64

	mu      sync.Mutex
	servers map[string]int64 // guarded by mu
}

// StartLoad starts a load. Whatever goes wrong is counted, and tried again at
// the same pace. The caller must call Stop.
//
// A request that finds its kept-alive connection closed before any answer is
// sent again on another by net/http; it is counted once.
func StartLoad(o LoadOptions) *Load {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{options: o, cancel: cancel, client: loadClient(o.HTTPConnections), servers: make(map[string]int64)}
	if o.HTTPAddress != "" {
		// One ticker for all: the pace is kept as long as one of them is free,
		// and a tick for which none is free is left out.
		ticker := time.NewTicker(time.Second / time.Duration(o.RequestsPerSecond))
		var requesters sync.WaitGroup
		for range o.HTTPConnections {
			requesters.Go(func() { l.request(ctx, ticker.C) })
		}
		l.running.Go(func() {
			requesters.Wait()
			ticker.Stop()
		})
	}
	if o.TCPAddress != "" {
		for range o.TCPConnections {
			l.running.Go(func() { l.talk(ctx) })
		}
	}
	return l
}

func loadClient(connections int) *http.Client {
	dialer := net.Dialer{Timeout: loadTimeout}
	return &http.Client{
		Timeout:       loadTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			MaxConnsPerHost:        connections,
			MaxIdleConnsPerHost:    connections,
			MaxResponseHeaderBytes: loadHeadBytes,
			DisableCompression:     true,
		},
	}
}

// Stop ends the load and waits for it. What it cuts off is not counted.
// Stopping again does nothing.
func (l *Load) Stop() {
	l.cancel()
	l.running.Wait()
	l.client.CloseIdleConnections()
}

// Counts returns what came of the load so far.
func (l *Load) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{
		HTTPOK:     l.httpOK.Load(),
		HTTPFailed: l.httpFailed.Load(),
		TCPOK:      l.tcpOK.Load(),
		TCPFailed:  l.tcpFailed.Load(),
		Servers:    maps.Clone(l.servers),
	}
}

// request sends a request for each tick it gets.
func (l *Load) request(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		name, err := l.get(ctx)
		switch {
		case err == nil:
			l.countOK(name)
		case ctx.Err() == nil:
			l.httpFailed.Add(1)
		}
	}
}

// get sends one request and returns who answered it.
func (l *Load) get(ctx context.Context) (name string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.options.HTTPAddress+"/", nil)
	if err != nil {
		return "", err
	}
	answer, err := l.client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(answer.Body, loadBodyBytes+1))
	switch {
	case err != nil:
		return "", err
	case n > loadBodyBytes:
		return "", fmt.Errorf("answer of more than %d bytes", loadBodyBytes)
	case answer.StatusCode != http.StatusOK:
		return "", fmt.Errorf("status %d: only 200 is ok", answer.StatusCode)
	}
	return answer.Header.Get(servedBy), nil
}

// countOK counts an answer. The name came off the network: what is not a
// short printable word, or one too many, counts as other.
func (l *Load) countOK(name string) {
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	if name == "" || len(name) > maxNameBytes || strings.ContainsFunc(name, unprintable) {
		name = otherName
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.servers[name]; !known && len(l.servers) >= maxNames {
		name = otherName
	}
	l.servers[name]++
	l.httpOK.Add(1)
}
