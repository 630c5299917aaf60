package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	mostDrunk = 4 << 20
	depths    = 4099 // from where in the ocean, by amount
)

var allNoise = sync.OnceValue(func() []byte {
	b := make([]byte, mostDrunk+depths)
	newNoise(0).Read(b)
	return b
})

// ocean is the bytes that a fountain sends, others for each amount.
func ocean(amount int) []byte {
	from := amount % depths
	return allNoise()[from : from+amount]
}

// fountain is a server that is asked for a number of bytes, one number on a line,
// and sends as much noise. poured counts what it has sent.
func (w *world) fountain(l net.Listener, poured *atomic.Int64) {
	w.serve(l, func(conn *net.TCPConn) {
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			amount, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				return
			}
			for rest := ocean(amount); len(rest) > 0; {
				sent, err := conn.Write(rest[:min(len(rest), 64<<10)])
				rest = rest[sent:]
				if poured.Add(int64(sent)); err != nil {
					return
				}
			}
		}
	})
}

// drink asks a fountain for bytes.
func drink(conn net.Conn, amount int) error {
	_, err := fmt.Fprintf(conn, "%d\n", amount)
	return err
}

// drunk reads the bytes that a fountain was asked for.
func drunk(conn net.Conn, amount int) error {
	buffer := make([]byte, 64<<10)
	for rest := ocean(amount); len(rest) > 0; {
		n, err := conn.Read(buffer[:min(len(rest), len(buffer))])
		if !bytes.Equal(buffer[:n], rest[:n]) {
			return fmt.Errorf("what arrived after %d of %d bytes is not what was sent", amount-len(rest), amount)
		}
		if rest = rest[n:]; err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", amount-len(rest), amount, err)
		}
	}
	return nil
}

// untilStill returns what a counter has come to once it does not move any more.
func (w *world) untilStill(what string, counter *atomic.Int64) int64 {
	w.Helper()
	last, since := int64(-1), time.Now()
	w.eventually(what, func() bool {
		if now := counter.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
	return last
}

// TestSlowReadersGoOn: many clients ask for much and stop reading. That holds the
// servers back and nobody else, costs fulcrum little memory, and when they go on
// they get every byte.
func TestSlowReadersGoOn(t *testing.T) {
	const clients, each, others = 200, 3 << 20, 20
	needNamespaces(t)
	overEachIO(t, 60*time.Second, func(w *world, io string) {
		m := w.machine("all")
		m.smallBuffers()
		var poured atomic.Int64
		l := m.listen("127.0.0.1")
		w.fountain(l, &poured)
		config := tcpOnly(l.Addr().String())
		config["io"] = io
		b := m.startBalancer(plainBinary, config)
		conns := make([]*net.TCPConn, clients)
		wantBounded(b, func() {
			for i := range conns {
				conns[i] = m.dial(b.listeners["db"])
				w.must(drink(conns[i], each+i))
			}
			last := w.untilStill("the server is held back", &poured)
			if all := int64(clients * each); last > all*9/10 {
				w.Errorf("the server has sent %d of %d MiB to clients that do not read", last>>20, all>>20)
			}
			w.Logf("the server was held back after %d MiB", last>>20)
			for range others {
				conn := m.dial(b.listeners["db"])
				w.must(drink(conn, 100<<10))
				w.must(drunk(conn, 100<<10))
				w.must(conn.Close())
			}
			w.must(onEach(clients, func(i int) error { return drunk(conns[i], each+i) }))
		})
		for _, conn := range conns {
			w.must(conn.Close())
		}
		b.wantEnds("db", map[string]int64{"client_closed": clients + others})
	})
}
