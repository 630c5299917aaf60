package httpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fulcrum/loop"
	"fulcrum/pool"
	"fulcrum/proxyproto"
)

// telltale fails the test when a loop has anything to say: a panic, that is.
type telltale struct {
	slog.Handler
	t testing.TB
}

func (telltale) Enabled(context.Context, slog.Level) bool { return true }
func (h telltale) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool { h.t.Errorf("%s: %v", r.Message, a); return true })
	return nil
}

// wild is a server that does what comes to its mind, but marks every answer with
// what it was asked for. If it is announced, connections begin with the PROXY header
// of a client that is nobody else's.
func wild(t testing.TB, announced bool) string {
	return rawOrigin(t, func(_ int, r *wire) {
		client := ""
		if announced {
			h, _, err := readHeader(r)
			if err != nil {
				return
			}
			client = fmt.Sprintf("/%d.", h.Source.Port())
		}
		for {
			head, ok := r.tryHead()
			if !ok {
				return
			}
			path, _, _ := strings.Cut(head[strings.IndexByte(head, ' ')+1:], " ")
			if rand.IntN(12) == 0 {
				return // without an answer
			}
			early := rand.IntN(8) == 0
			if early && rand.IntN(2) == 0 {
				fmt.Fprintf(r, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n")
			}
			if !strings.HasPrefix(path, client) {
				t.Errorf("a connection of %s is used for %s", client, path)
			}
			req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
			if err != nil {
				t.Errorf("%q: %v", head, err)
				return
			}
			if req.ContentLength != 0 && !early {
				chunked := len(req.TransferEncoding) > 0
				if chunked {
					for {
						line, err := r.br.ReadString('\n')
						if err != nil {
							return
						}
						var n int64
						fmt.Sscanf(line, "%x", &n)
						if _, err := io.CopyN(io.Discard, r.br, n+2); err != nil {
							return
						}
						if n == 0 {
							break
						}
					}
				} else if _, err := io.CopyN(io.Discard, r.br, req.ContentLength); err != nil {
					return
				}
			}
			body := strings.Repeat(path, []int{0, 1, 100, 3000, 60000}[rand.IntN(5)])
			if rand.IntN(15) == 0 {
				fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body)+1, body)
				r.SetLinger(rand.IntN(2)*10 - 5)
				return // in mid-answer
			}
			switch rand.IntN(3) {
			case 0:
				fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				for len(body) > 0 {
					n := min(len(body), 1+rand.IntN(20000))
					fmt.Fprintf(r, "%x\r\n%s\r\n", n, body[:n])
					body = body[n:]
				}
				io.WriteString(r, "0\r\n\r\n")
			case 1:
				fmt.Fprintf(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			default:
				fmt.Fprintf(r, "HTTP/1.1 200 OK\r\n\r\n%s", body)
				return
			}
			if early {
				return
			}
		}
	})
}

// rave is a client that does what comes to its mind, and reports whether an answer
// was not its own.
func rave(addr string, id int, announced bool) (err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	br := bufio.NewReader(c)
	if announced {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(id % 30)}), uint16(id))
		c.Write(proxyproto.Append(nil, proxyproto.V1+proxyproto.Version(id%2), client, someAddress))
	}
	for i := range 1 + rand.IntN(6) {
		path := fmt.Sprintf("/%d.%d;", id, i)
		switch rand.IntN(4) {
		case 0:
			n := []int{1, 5000, 400_000}[rand.IntN(3)]
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", path, n)
			if rand.IntN(6) == 0 {
				n /= 2
				io.CopyN(c, zeros{}, int64(n))
				return nil
			}
			io.CopyN(c, zeros{}, int64(n))
		case 1:
			fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", path)
			for range rand.IntN(5) {
				n := 1 + rand.IntN(30000)
				fmt.Fprintf(c, "%x;e\r\n%s\r\n", n, strings.Repeat("z", n))
			}
			io.WriteString(c, []string{"0\r\n\r\n", "0\r\nT: t\r\n\r\n", "z\r\n"}[rand.IntN(3)])
		default:
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		}
		switch rand.IntN(12) {
		case 0:
			c.(*net.TCPConn).SetLinger(0)
			return nil
		case 1:
			c.(*net.TCPConn).CloseWrite()
		}
		resp, err := http.ReadResponse(br, nil)
		for err == nil && resp.StatusCode < 200 {
			resp, err = http.ReadResponse(br, nil)
		}
		if err != nil {
			if isTimeout(err) {
				return fmt.Errorf("%s: no answer: %w", path, err)
			}
			return nil
		}
		body, err := io.ReadAll(resp.Body)
		if isTimeout(err) {
			return fmt.Errorf("%s: no end of the answer after %d bytes: %w", path, len(body), err)
		}
		if resp.StatusCode == 200 && strings.ReplaceAll(string(body), path, "") != "" && err == nil {
			return fmt.Errorf("%s got somebody else's answer, %.40q", path, body)
		}
		if err != nil || resp.Close {
			return nil
		}
	}
	return nil
}

// Whatever clients, servers and operators do at the same time, nobody gets the
// answer of another, nobody waits for ever, and in the end nothing is left.
func TestChaos(t *testing.T) { chaos(t, false) }

// So it is when all clients are announced to the servers, wait for a place, and are
// recorded.
func TestChaosOfAnnouncedClients(t *testing.T) { chaos(t, true) }

func chaos(t *testing.T, announced bool) {
	var loops []*loop.Loop
	for range 2 {
		l, err := loop.New(testIO(), slog.New(telltale{slog.DiscardHandler, t}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Stop)
		loops = append(loops, l)
	}
	p, err := pool.New("web", pool.Options{QueueLength: 20})
	if err != nil {
		t.Fatal(err)
	}
	addresses := []string{wild(t, announced), wild(t, announced), wild(t, announced)}
	recorded, records := logged(t)
	w := newWorld(t, func(o *Options) {
		o.Loops, o.Default.Pool, o.Default.QueueTimeout = loops, p, 10*time.Second
		recorded(o)
		if announced {
			behindProxies("127.0.0.0/8")(o)
			o.Default.SendProxy, o.MaxConnections, o.MaxPerClient = proxyproto.V2, 20, 3
			o.Routes = []Route{{Path: "/nobody's"}, {Host: "h", Upstream: o.Default, Answer: &Edits{Add: []Field{{"Via", "1.1 x"}}}}}
		}
	}, addresses...)
	w.pool.Upload(pool.ServerSpec{Address: addresses[0], MaxConnections: 3})
	var clients, operator sync.WaitGroup
	var over atomic.Bool
	for i := range 40 {
		clients.Go(func() {
			for j := range 10 {
				if err := rave(w.addr, 100*i+j, announced); err != nil {
					t.Error(err)
				}
			}
		})
	}
	operator.Go(func() {
		for !over.Load() {
			switch s := w.server(rand.IntN(3)); rand.IntN(3) {
			case 0:
				w.proxy.CloseServer(s)
			case 1:
				w.proxy.Forget(s)
			}
			time.Sleep(5 * time.Millisecond) // the operator's pace
		}
	})
	clients.Wait()
	over.Store(true)
	operator.Wait()
	w.idle()
	w.eventually("no client is left", func() bool {
		left := false
		w.each(func(w *worker) { left = left || w.clients != nil })
		return !left
	})
	if n := w.pool.Queued(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	ended := int64(0)
	for _, n := range w.proxy.Stats().Endings {
		ended += n
	}
	if n := len(records()); int64(n) != ended {
		t.Errorf("%d records of %d endings", n, ended)
	}
	if announced {
		w.mustHavePlaces(20)
	}
}
