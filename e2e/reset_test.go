package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// A partner is the server's side of a connection, given to the test, which has to
// close it.
type partner struct {
	*net.TCPConn
	done chan struct{}
}

func (p *partner) Close() error {
	defer close(p.done)
	return p.TCPConn.Close()
}

// partners is a server whose connections the test plays. The first byte of each
// is not for them: it tells a client from a health check.
func (w *world) partners() (address string, arrived <-chan *partner) {
	w.Helper()
	l := w.listen()
	return l.Addr().String(), w.partnersOn(l)
}

func (w *world) partnersOn(l net.Listener) <-chan *partner {
	all := make(chan *partner, 100)
	w.serve(l, func(conn *net.TCPConn) {
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return // a health check
		}
		p := &partner{conn, make(chan struct{})}
		select {
		case all <- p:
		case <-w.ended():
			return
		}
		select {
		case <-p.done:
		case <-w.ended():
		}
	})
	return all
}

// meet connects a client with a partner.
func (w *world) meet(address string, arrived <-chan *partner) (client *net.TCPConn, server *partner) {
	w.Helper()
	client = w.dial(address)
	return client, w.introduce(client, arrived)
}

// introduce finds the partner of a client that has just connected.
func (w *world) introduce(client net.Conn, arrived <-chan *partner) *partner {
	w.Helper()
	_, err := client.Write([]byte("!"))
	w.must(err)
	return receive(w, "the server is connected", arrived)
}

// closer is one side of a connection.
type closer interface {
	io.ReadWriteCloser
	SetLinger(seconds int) error
	CloseWrite() error
}

// reset closes a side with a reset.
func reset(c closer) error { return errors.Join(c.SetLinger(0), c.Close()) }

// pour sends until it fails, and returns how.
func pour(to io.Writer) error {
	for buffer := make([]byte, 64<<10); ; {
		if _, err := to.Write(buffer); err != nil {
			return err
		}
	}
}

// resets are the ways in which one side leaves the other with a reset. Each
// returns what the other sees.
var resets = []struct {
	name  string
	story func(leaver, other closer) error
}{
	{"in silence", func(leaver, other closer) error {
		if err := reset(leaver); err != nil {
			return err
		}
		_, err := other.Read(make([]byte, 1))
		return err
	}},
	{"after the other's end", func(leaver, other closer) error {
		if err := other.CloseWrite(); err != nil {
			return err
		}
		if rest, err := io.ReadAll(leaver); len(rest) > 0 || err != nil {
			return fmt.Errorf("in place of the end %d bytes, %w", len(rest), err)
		}
		if err := reset(leaver); err != nil {
			return err
		}
		_, err := other.Read(make([]byte, 1))
		return err
	}},
	{"while it is sent to", func(leaver, other closer) error {
		poured := make(chan error, 1)
		go func() { poured <- pour(other) }()
		if _, err := io.CopyN(io.Discard, leaver, 3<<20); err != nil {
			return err
		}
		if err := reset(leaver); err != nil {
			return err
		}
		return <-poured
	}},
	{"while it sends", func(leaver, other closer) error {
		go pour(leaver)
		if _, err := io.CopyN(io.Discard, other, 3<<20); err != nil {
			return err
		}
		if err := reset(leaver); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, other)
		return err
	}},
}

// TestResetsFromEitherSide: whatever the other side is about, it sees a reset as
// a reset and never as an end.
func TestResetsFromEitherSide(t *testing.T) {
	const times = 5
	overEachIO(t, 40*time.Second, func(w *world, io string) {
		address, arrived := w.partners()
		config := tcpOnly(address)
		config["io"] = io
		b := w.balance(config)
		for _, way := range resets {
			for range times {
				client, server := w.meet(b.listeners["db"], arrived)
				if err := way.story(server, client); !errors.Is(err, syscall.ECONNRESET) {
					w.Errorf("the server resets %s: the client sees %v", way.name, err)
				}
				client, server = w.meet(b.listeners["db"], arrived)
				if err := way.story(client, server); !errors.Is(err, syscall.ECONNRESET) {
					w.Errorf("the client resets %s: the server sees %v", way.name, err)
				}
				server.Close()
			}
		}
		n := int64(times * len(resets))
		b.wantEnds("db", map[string]int64{"client_reset": n, "server_reset": n})
		if left := sum(active(b, "db")); left != 0 {
			w.Errorf("%d connections are active afterwards", left)
		}
	})
}

// TestHalfCloseEachWay: one side ends its direction and still gets much from the
// other, as often as one likes and at the same time.
func TestHalfCloseEachWay(t *testing.T) {
	const times, amount = 10, 5 << 20
	overEachIO(t, 40*time.Second, func(w *world, io_ string) {
		address, arrived := w.partners()
		config := tcpOnly(address)
		config["io"] = io_
		b := w.balance(config)
		type side struct {
			name         string
			first, other closer
		}
		for i := range times {
			clientFirst, its := w.meet(b.listeners["db"], arrived)
			client, serverFirst := w.meet(b.listeners["db"], arrived)
			for _, s := range []side{{"client", clientFirst, its}, {"server", serverFirst, client}} {
				fmt.Fprint(s.first, "that is all")
				w.must(s.first.CloseWrite())
				if text, err := io.ReadAll(s.other); err != nil || string(text) != "that is all" {
					w.Fatalf("the %s ended first: the other side read %q, %v", s.name, text, err)
				}
				sent := make(chan error, 1)
				go func() {
					err := sendNoise(s.other, i, amount)
					sent <- errors.Join(err, s.other.CloseWrite())
				}()
				got, want := digestOf(w, s.first, amount), noiseDigest(i, amount)
				if err := <-sent; err != nil || got != want {
					w.Fatalf("the %s ended first: it got %s, %v; want %s", s.name, got, err, want)
				}
			}
			its.Close()
			serverFirst.Close()
		}
		b.wantEnds("db", map[string]int64{"client_closed": times, "server_closed": times})
	})
}
