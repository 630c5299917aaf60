package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// bufferPool lends the buffers that bodies are copied through.
type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

func (b *bufferPool) Put(buf []byte) { b.pool.Put(&buf) }

// runReverseProxy is the program of the contender that people write for
// themselves: httputil.ReverseProxy over the servers in turn, with kept
// connections and pooled buffers. It serves until ctx ends.
func runReverseProxy(ctx context.Context, listen string, servers []string) error {
	if len(servers) == 0 {
		return errors.New("reverse-proxy: no server given")
	}
	var targets []*url.URL
	for _, server := range servers {
		targets = append(targets, &url.URL{Scheme: "http", Host: server})
	}
	var turn atomic.Uint64
	transport := &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 1024, IdleConnTimeout: time.Minute, DisableCompression: true}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(targets[turn.Add(1)%uint64(len(targets))])
		},
		Transport:  transport,
		BufferPool: &bufferPool{},
	}
	server := &http.Server{Addr: listen, Handler: proxy, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	defer transport.CloseIdleConnections()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("reverse-proxy: %w", err)
	}
	return nil
}
