// Package e2e_test drives the built fulcrum binary from outside, as its users
// do: by the command line, config files, signals, the admin API and traffic. It
// imports nothing of the module. The peers are real programs on loopback (nginx,
// redis, PostgreSQL, openssl, curl, Prometheus) and small servers inside the test
// where a peer has to misbehave or wait for a sign.
//
// TestMain builds the binary twice: with the race detector for every test, and
// plainly for those that measure memory. A test begins with newWorld, which
// gives it a deadline of its own; all that it starts ends with it. Nothing
// sleeps to wait for something: eventually polls a condition up to the deadline.
package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// object is a JSON object that is written out in a test.
type object = map[string]any

// The binaries that TestMain built.
var raceBinary, plainBinary string

// atOnce is how many tests run at the same time: they mostly wait.
const atOnce = 4

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", strconv.Itoa(atOnce))
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	folder, err := os.MkdirTemp("", "fulcrum-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	raceBinary = filepath.Join(folder, "fulcrum-race")
	plainBinary = filepath.Join(folder, "fulcrum")
	var builds sync.WaitGroup
	var raceErr, plainErr error
	builds.Go(func() { raceErr = build("-race", "-o", raceBinary, "..") })
	builds.Go(func() { plainErr = build("-o", plainBinary, "..") })
	builds.Wait()
	if err := errors.Join(raceErr, plainErr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { closeChromium() }()
	return m.Run()
}

func build(args ...string) error {
	out, err := exec.Command("go", append([]string{"build"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build %v: %w\n%s", args, err, out)
	}
	return nil
}

// A world is a test with its deadline. What is started in it ends with it.
type world struct {
	*testing.T
	ctx context.Context // ends at the deadline
}

// slower is how many times longer than usual everything may take, on a machine that has
// much else to do.
const slower = 3

// newWorld lets the test run beside others, for no longer than limit, or slower, from
// the moment when its turn has come.
func newWorld(t *testing.T, limit time.Duration) *world {
	t.Helper()
	t.Parallel()
	return worldFor(t, limit)
}

func worldFor(t *testing.T, limit time.Duration) *world {
	ctx, cancel := context.WithTimeout(context.Background(), slower*limit)
	t.Cleanup(cancel)
	return &world{t, ctx}
}

func (w *world) deadline() time.Time {
	at, _ := w.ctx.Deadline()
	return at
}

// eventually waits until the condition holds, and fails the test if it does not
// by the deadline.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	started := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if w.ctx.Err() != nil {
			w.Fatalf("after %s still not: %s", time.Since(started).Round(time.Millisecond), what)
		}
		<-tick.C
	}
}

// await waits until the channel is closed.
func (w *world) await(what string, done <-chan struct{}) {
	w.Helper()
	select {
	case <-done:
	case <-w.ctx.Done():
		w.Fatalf("at the deadline still not: %s", what)
	}
}

// must fails the test on an error.
func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// dial connects to an address. The connection is bound to the deadline and is
// closed with the test.
func (w *world) dial(address string) *net.TCPConn {
	w.Helper()
	conn, err := new(net.Dialer).DialContext(w.ctx, "tcp", address)
	w.must(err)
	conn.SetDeadline(w.deadline())
	w.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// listen opens a listening socket on a free port, closed with the test.
func (w *world) listen() net.Listener {
	w.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.Cleanup(func() { l.Close() })
	return l
}

// lastPort is the port that freeAddress gave out last.
var lastPort atomic.Uint32

func init() { lastPort.Store(uint32(10000 + os.Getpid()%15000)) }

// freeAddress returns an address for a program that cannot choose a port itself.
// The ports lie below those that the kernel gives to outgoing connections, so
// that a server can come back to its port while others connect.
func (w *world) freeAddress() string {
	w.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", lastPort.Add(1))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	w.Fatal("no free port among 1000")
	return ""
}
