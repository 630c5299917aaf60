package e2e_test

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestServersByName: servers that are host names serve, and one whose name does
// not resolve is there, not ready and says why, without holding up the start.
func TestServersByName(t *testing.T) {
	for _, protocol := range []string{"tcp", "http"} {
		t.Run(protocol, func(t *testing.T) {
			w := newWorld(t, 30*time.Second)
			named := w.localhostServer("named")
			const nowhere = "name.invalid:80" // never resolves (RFC 6761, section 6.4)
			b := w.startBalancer(raceBinary, object{
				"listeners": []object{{"name": "web", "protocol": protocol, "address": "127.0.0.1:0", "pool": "web"}},
				"pools": []object{{"name": "web", "algorithm": "round_robin", "resolve_interval": "200ms", "servers": []string{
					nowhere, named, w.nginx("numbered").address,
				}}},
			})
			b.awaitServer("web", named, "ready", ready)
			w.eventually("both other servers are asked", func() bool {
				got := w.name(b.listeners["web"])
				return got == "named" && w.name(b.listeners["web"]) == "numbered"
			})
			for range 20 {
				w.name(b.listeners["web"])
			}
			var answer struct {
				Pools []struct {
					Servers []struct {
						Address string
						Ready   bool
						Check   *struct {
							Passed bool
							Reason string
						} `json:"last_check"`
					}
				}
			}
			b.get("/servers", &answer)
			lost := answer.Pools[0].Servers[0]
			if lost.Address != nowhere || lost.Ready || lost.Check == nil || lost.Check.Passed || !strings.Contains(lost.Check.Reason, "resolve") {
				t.Errorf("the server without an address: %+v, want it not ready, with a reason", lost)
			}
			w.eventually("stderr warns of it", func() bool {
				log := b.stderr.String()
				return strings.Contains(log, "level=WARN") && strings.Contains(log, nowhere)
			})
		})
	}
}

// localhostServer serves on every address that the name localhost may stand
// for, and returns it by that name.
func (w *world) localhostServer(name string) string {
	w.Helper()
	server := &http.Server{
		Handler:           http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Write([]byte(name)) }),
		ReadHeaderTimeout: 30 * time.Second,
	}
	four := w.listen()
	listeners := []net.Listener{four}
	_, port, err := net.SplitHostPort(four.Addr().String())
	w.must(err)
	if six, err := net.Listen("tcp", net.JoinHostPort("::1", port)); err == nil {
		listeners = append(listeners, six)
	}
	var served sync.WaitGroup
	for _, l := range listeners {
		served.Go(func() { server.Serve(l) })
	}
	w.Cleanup(func() {
		server.Close()
		served.Wait()
	})
	return "localhost:" + port
}
