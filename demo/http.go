package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// What bounds a client of an HTTP server.
	httpConnections   = 1024
	httpHeadTimeout   = 5 * time.Second
	httpBodyTimeout   = 10 * time.Second
	httpAnswerTimeout = 10 * time.Second
	httpIdleTimeout   = 2 * time.Minute // longer than proxies keep idle connections, so that they are the ones to close
	httpHeadBytes     = 16 << 10
	quitBodyBytes     = 4 << 10

	// For how long POST /quit makes a server go away, in seconds.
	quitDefault = 10
	quitMin     = 1
	quitMax     = 300

	closeGrace     = 2 * time.Second        // for requests in hand
	listenInterval = 100 * time.Millisecond // between attempts to listen again
)

// httpServer is one HTTP server through all its comings and goings. One
// goroutine, in run, owns its listening socket.
type httpServer struct {
	kind
	address  string
	logger   *slog.Logger
	stopping <-chan struct{}

	done chan struct{} // closed when run has returned
	err  error         // of the last round; written before done is closed
}

// startHTTP takes over the listener. The server ends when stopping is closed.
func startHTTP(k kind, l net.Listener, stopping <-chan struct{}, logger *slog.Logger) *httpServer {
	h := &httpServer{
		kind:     k,
		address:  l.Addr().String(),
		logger:   logger.With("server", k.name, "address", l.Addr().String()),
		stopping: stopping,
		done:     make(chan struct{}),
	}
	go h.run(l)
	return h
}

// wait returns when the server has ended, with an error if it had to drop
// requests.
func (h *httpServer) wait() error {
	<-h.done
	return h.err
}

func (h *httpServer) run(l net.Listener) {
	defer close(h.done)
	for l != nil {
		var away time.Duration
		if away, h.err = h.serve(l); away == 0 {
			return
		}
		h.logger.Info("demo server went away", "for", away)
		if !h.pause(away) {
			return
		}
		l = h.listenAgain()
	}
}

// listenAgain opens the same port as before, waiting for it while another has
// it. It returns nil when the server is to stop.
func (h *httpServer) listenAgain() net.Listener {
	for told := false; ; told = true {
		l, err := net.Listen("tcp", h.address)
		if err == nil {
			h.logger.Info("demo server is back")
			return l
		}
		if !told {
			h.logger.Warn("demo server cannot come back yet", "reason", err)
		}
		if !h.pause(listenInterval) {
			return nil
		}
	}
}

// pause waits and reports whether the server is to go on.
func (h *httpServer) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-h.stopping:
		return false
	}
}

// serve answers on the listener until the server is told to quit, and returns
// for how long to stay away, or until it is to stop, and returns 0. By then
// all connections and their goroutines have ended.
func (h *httpServer) serve(l net.Listener) (away time.Duration, err error) {
	quit := make(chan time.Duration, 1)
	var connections connectionLimit
	server := &http.Server{
		Handler:           h.handler(quit),
		ReadHeaderTimeout: httpHeadTimeout,
		ReadTimeout:       httpBodyTimeout,
		WriteTimeout:      httpAnswerTimeout,
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    httpHeadBytes,
		ConnState:         connections.track,
		ErrorLog:          slog.NewLogLogger(h.logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()

	select {
	case away = <-quit:
		l.Close()
		<-ended
	case <-h.stopping:
		l.Close()
		<-ended
	case reason := <-ended:
		l.Close()
		h.logger.Warn("demo server cannot accept", "reason", reason)
		away = listenInterval
	}
	// Serve has returned before the connections are closed: one accepted at
	// the last moment would escape otherwise.
	if away == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		if err = server.Shutdown(ctx); err != nil {
			err = fmt.Errorf("demo server %q on %s: connections dropped that did not end within %s: %w", h.name, h.address, closeGrace, err)
		}
	}
	server.Close()
	connections.open.Wait()
	return away, err
}

// connectionLimit follows the connections of an http.Server and closes those
// that are too many.
type connectionLimit struct {
	open  sync.WaitGroup
	count atomic.Int64
}

func (c *connectionLimit) track(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.open.Add(1)
		if c.count.Add(1) > httpConnections {
			conn.Close()
		}
	case http.StateClosed:
		c.count.Add(-1)
		c.open.Done()
	}
}

func (h *httpServer) handler(quit chan<- time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		delay := time.NewTimer(h.delay)
		defer delay.Stop()
		select {
		case <-delay.C:
			fmt.Fprintf(w, "hello from %s (%s)\n", h.name, h.address)
		case <-r.Context().Done(): // nobody is there to be answered
		}
	})
	mux.HandleFunc("GET "+HealthPath, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("POST /quit", func(w http.ResponseWriter, r *http.Request) {
		h.quit(w, r, quit)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(servedBy, h.name)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		mux.ServeHTTP(w, r)
	})
}

// quit answers, and only when the answer is on its way makes the server go
// away, so that whoever asked sees what they did.
func (h *httpServer) quit(w http.ResponseWriter, r *http.Request, quit chan<- time.Duration) {
	away, err := quitDuration(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// A body left unread would turn the end of the connection into a reset
	// that can overtake the answer.
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, quitBodyBytes)); err != nil {
		http.Error(w, fmt.Sprintf("body: %v; at most %d bytes are allowed, and none needed", err, quitBodyBytes), http.StatusBadRequest)
		return
	}
	answer := fmt.Sprintf("%s (%s) goes away for %s\n", h.name, h.address, away)
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	io.WriteString(w, answer)
	http.NewResponseController(w).Flush()
	select {
	case quit <- away:
	default: // another request made it go already
	}
}

// quitDuration reads ?seconds= of POST /quit.
func quitDuration(rawQuery string) (time.Duration, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return 0, fmt.Errorf("query %q: %w", rawQuery, err)
	}
	seconds := quitDefault
	if query.Has("seconds") {
		seconds, err = strconv.Atoi(query.Get("seconds"))
		if err != nil || seconds < quitMin || seconds > quitMax {
			return 0, fmt.Errorf("seconds %q: a whole number from %d to %d is allowed", query.Get("seconds"), quitMin, quitMax)
		}
	}
	return time.Duration(seconds) * time.Second, nil
}
