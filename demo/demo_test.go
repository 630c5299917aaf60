package demo

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests.
const patience = 5 * time.Second

// events is a log handler that passes on the messages.
type events chan string

func (e events) Enabled(context.Context, slog.Level) bool { return true }
func (e events) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e events) WithGroup(string) slog.Handler            { return e }
func (e events) Handle(_ context.Context, r slog.Record) error {
	select {
	case e <- r.Message:
	default:
	}
	return nil
}

// want waits for a message.
func (e events) want(t *testing.T, message string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case got := <-e:
			if got == message {
				return
			}
		case <-late:
			t.Fatalf("no %q in the log after %s", message, patience)
		}
	}
}

// start starts the servers for the length of a test.
func start(t *testing.T) (*Servers, events) {
	t.Helper()
	log := make(events, 100)
	s, err := Start(Options{Logger: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { within(t, func() { s.Close() }) })
	return s, log
}

// within fails the test when f takes too long; f then goes on alone.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("still not done after %s", patience)
	}
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

func wantRefused(t *testing.T, address string) {
	t.Helper()
	if conn, err := net.DialTimeout("tcp", address, patience); err == nil {
		conn.Close()
		t.Fatalf("%s accepts connections, want none", address)
	}
}

// wantNoLongerAccepting waits until connections are refused.
func wantNoLongerAccepting(t *testing.T, address string) {
	t.Helper()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for late := time.After(patience); ; {
		select {
		case <-again.C:
			conn, err := net.DialTimeout("tcp", address, patience)
			if err != nil {
				return
			}
			conn.Close()
		case <-late:
			t.Fatalf("%s still accepts connections after %s", address, patience)
		}
	}
}

func TestSixServersOnLoopback(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Names(), []string{"fast", "steady", "slow"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	all := append(s.HTTPAddresses(), s.TCPAddresses()...)
	if len(all) != 6 {
		t.Fatalf("addresses %q, want six", all)
	}
	for _, address := range all {
		if !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("address %q is not on 127.0.0.1", address)
		}
		dial(t, address).Close()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != 6 {
		t.Errorf("addresses %q, want all different", all)
	}
}

func TestListenAllOpensEverythingOrNothing(t *testing.T) {
	free, taken := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	first := free.Addr().String()
	free.Close()

	_, err := listenAll([]string{first, taken.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Fatalf("error %v, want one that names %s", err, taken.Addr())
	}
	listen(t, first)
}

func TestCloseStopsAllAndAgainDoesNothing(t *testing.T) {
	s, _ := start(t)
	all := append(s.HTTPAddresses(), s.TCPAddresses()...)
	for _, address := range s.TCPAddresses() {
		dial(t, address)
	}
	for range 2 {
		within(t, func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, address := range all {
		wantRefused(t, address)
	}
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
