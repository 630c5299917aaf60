package e2e_test

import (
	"io"
	"testing"
	"time"
)

// ticks sends a byte each tick, n times.
func ticks(to io.Writer, n int, tick time.Duration) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	for range n {
		if _, err := to.Write([]byte(".")); err != nil {
			return err
		}
		<-t.C
	}
	return nil
}

// TestIdleTimeout: a connection without a byte either way is closed on both
// sides; a byte now and then, in one direction alone, keeps it.
func TestIdleTimeout(t *testing.T) {
	const limit, tick, n = 1500 * time.Millisecond, 300 * time.Millisecond, 6
	overEachIO(t, 20*time.Second, func(w *world, io_ string) {
		address, arrived := w.partners()
		config := tcpOnly(address)
		config["io"] = io_
		listenerOf(config)["idle_timeout"] = limit.String()
		b := w.balance(config)

		client, server := w.meet(b.listeners["db"], arrived)
		w.must(ticks(client, n, tick)) // longer than the limit in all
		if _, err := io.ReadFull(server, make([]byte, n)); err != nil {
			w.Fatalf("a byte now and then does not keep the connection: the server read %v", err)
		}
		w.must(ticks(server, n-1, tick))
		quiet := time.Now()
		_, err := server.Write([]byte("."))
		w.must(err)
		got, err := io.ReadAll(client)
		if len(got) != n || isTimeout(err) {
			w.Errorf("the client got %q, %v; want %d bytes and an end", got, err, n)
		}
		if took := time.Since(quiet); took < limit {
			w.Errorf("closed %s after the last byte, want %s", took, limit)
		}
		if _, err := server.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			w.Errorf("the server is not told: %v", err)
		}
		b.wantEnds("db", map[string]int64{"idle": 1})
	})
}

// TestHalfClosedTimeout: when one side has ended its direction the other has that
// much time between two bytes; before, the idle timeout holds.
func TestHalfClosedTimeout(t *testing.T) {
	const limit, tick, n = time.Second, 200 * time.Millisecond, 6
	overEachIO(t, 20*time.Second, func(w *world, io_ string) {
		address, arrived := w.partners()
		config := tcpOnly(address)
		config["io"] = io_
		listenerOf(config)["half_closed_timeout"] = limit.String()
		b := w.balance(config)
		open, _ := w.meet(b.listeners["db"], arrived)

		for _, story := range []string{"the client ends first", "the server ends first"} {
			client, server := w.meet(b.listeners["db"], arrived)
			var first, other closer = client, server
			if story == "the server ends first" {
				first, other = server, client
			}
			w.must(first.CloseWrite())
			if rest, err := io.ReadAll(other); err != nil || len(rest) > 0 {
				w.Fatalf("%s: the other side read %q, %v", story, rest, err)
			}
			w.must(ticks(other, n, tick)) // longer than the limit in all
			got, err := io.ReadAll(first)
			if len(got) != n || isTimeout(err) {
				w.Errorf("%s: it got %q, %v; want the %d bytes that came while it waited, and then no more", story, got, err, n)
			}
			w.must(first.Close())
		}
		b.wantEnds("db", map[string]int64{"half_closed_idle": 2})
		if n := b.traffic("db").Active; n != 1 {
			w.Errorf("%d connections are active, want 1: what is open both ways is not concerned", n)
		}
		w.must(open.Close())
	})
}
