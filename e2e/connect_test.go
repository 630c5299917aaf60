package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// closedPort is an address that refuses connections: somebody has it, so that nobody else
// can, and does not listen.
func (w *world) closedPort() string {
	w.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	w.must(err)
	w.Cleanup(func() { unix.Close(fd) })
	w.must(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	at, err := unix.Getsockname(fd)
	w.must(err)
	return fmt.Sprint("127.0.0.1:", at.(*unix.SockaddrInet4).Port)
}

// TestServersThatCannotBeConnectedTo: whatever the method, another server is asked
// in their place; without one, clients are told at once that there is none, or
// when connect_timeout is over.
func TestServersThatCannotBeConnectedTo(t *testing.T) {
	const patience, requests = 500 * time.Millisecond, 4
	overEachIO(t, 30*time.Second, func(w *world, io_ string) {
		var served atomic.Int64
		well := w.httpServer(func(rw http.ResponseWriter, r *http.Request) {
			served.Add(1)
			io.Copy(rw, r.Body)
		})
		abrupt := w.tcpServer(func(conn *net.TCPConn) { conn.SetLinger(0) })
		refused, hole := w.closedPort(), w.blackHole()
		pools := [][]string{{refused, well}, {hole, well}, {abrupt, well}, {refused}, {hole}}
		b := w.balance(httpEach(io_, len(pools), func(i int, pool object) {
			pool["servers"], pool["algorithm"], pool["connect_timeout"] = pools[i], "round_robin", patience.String()
		}))
		post := func(pool int) (status int) {
			conn := w.dial(b.listeners[fmt.Sprint(pool)])
			w.must(ignore(io.WriteString(conn, "POST / HTTP/1.1\r\nHost: e2e\r\nContent-Length: 4\r\n\r\nonce")))
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			w.must(err)
			text, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode == 200 && string(text) != "once" {
				w.Errorf("%v answer %q, %v", pools[pool], text, err)
			}
			return response.StatusCode
		}
		for pool, name := range []string{"refuses", "does not answer"} {
			served.Store(0)
			for range requests {
				if status := post(pool); status != 200 {
					w.Errorf("beside a server that %s: status %d", name, status)
				}
			}
			if n := served.Load(); n != requests {
				w.Errorf("beside a server that %s: %d of %d requests arrived", name, n, requests)
			}
			if failed := b.pools()[fmt.Sprint(pool)][0].Failures; failed < requests/2 {
				w.Errorf("a server that %s was tried %d times, want every other time", name, failed)
			}
		}

		// A reset that comes before anything was sent is as good as a refusal;
		// after that nobody knows.
		served.Store(0)
		statuses := map[int]int64{}
		for range requests {
			statuses[post(2)]++
		}
		if n := served.Load(); n != statuses[200] || n+statuses[502] != requests {
			w.Errorf("beside a server that resets: statuses %v, %d requests served", statuses, n)
		}

		if status := post(3); status != 502 {
			w.Errorf("with a server that refuses alone: status %d, want 502", status)
		}
		began := time.Now()
		status := post(4)
		if took := time.Since(began); status != 504 || took < patience {
			w.Errorf("with a server that does not answer alone: status %d after %s, want 504 after %s", status, took, patience)
		}
		b.wantIdle()
	})
}
