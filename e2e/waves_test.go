package e2e_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// descriptors counts the open file descriptors of a process.
func descriptors(w *world, pid int) int {
	w.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	w.must(err)
	return len(all)
}

// proportionalMemory is the process's share of the memory it uses (PSS), in
// bytes.
func proportionalMemory(w *world, pid int) int64 {
	w.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	w.must(err)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			w.must(err)
			return kib << 10
		}
	}
	w.Fatal("smaps_rollup has no Pss")
	return 0
}

// onEach runs a step for each of n connections, a few at a time, and returns what
// went wrong first.
func onEach(n int, step func(i int) error) error {
	const workers = 16
	failed := make(chan error, workers)
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := worker; i < n; i += workers {
				if err := step(i); err != nil {
					failed <- fmt.Errorf("connection %d of %d: %w", i, n, err)
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// newNoise is an endless stream of bytes, another one for each number.
func newNoise(number int) *rand.ChaCha8 {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(number))
	return rand.NewChaCha8(seed)
}

// word is a text of noise, another one for each number.
func word(number int) []byte {
	b := make([]byte, 64+number%1000)
	newNoise(number).Read(b)
	return b
}

// redisEcho has a redis say a word back.
func redisEcho(conn net.Conn, said []byte) error {
	if _, err := fmt.Fprintf(conn, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", len(said), said); err != nil {
		return err
	}
	want := fmt.Appendf(nil, "$%d\r\n%s\r\n", len(said), said)
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("what came back is not what was sent, %d bytes", len(said))
	}
	return nil
}

// wave opens n connections at a time, has a redis say a word back on each, and
// closes them after whileOpen was called.
func (w *world) wave(address string, n, number int, whileOpen func()) {
	w.Helper()
	conns := make([]net.Conn, n)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	}()
	w.must(onEach(n, func(i int) (err error) {
		if conns[i], err = (&net.Dialer{Deadline: w.deadline()}).Dial("tcp", address); err != nil {
			return err
		}
		return conns[i].SetDeadline(w.deadline())
	}))
	w.must(onEach(n, func(i int) error { return redisEcho(conns[i], word(number*n+i)) }))
	whileOpen()
}

// TestWavesOfConnections: twenty thousand connections come in waves, each gets
// its own bytes back, and afterwards fulcrum is as it was before.
func TestWavesOfConnections(t *testing.T) {
	const (
		waves, atATime = 5, 4000
		slackFiles     = 8 // the admin listener's connections, pipes that a loop keeps
		slackMemory    = 32 << 20
	)
	overEachIO(t, 60*time.Second, func(w *world, io string) {
		config := tcpOnly(addresses(w.redises("one", "two"))...)
		config["io"] = io
		b := w.balancePlain(config)
		pid := b.cmd.Process.Pid
		filesBefore, memoryBefore := descriptors(w, pid), proportionalMemory(w, pid)
		for number := range waves {
			w.wave(b.listeners["db"], atATime, number, func() {
				files, memory := descriptors(w, pid)-filesBefore, proportionalMemory(w, pid)-memoryBefore
				w.Logf("with %d open: %d more descriptors, %d KiB more memory", atATime, files, memory>>10)
				if files < 2*atATime-slackFiles || files > 2*atATime+slackFiles {
					w.Errorf("%d more descriptors for %d connections, want 2 for each", files, atATime)
				}
			})
		}
		w.eventually("nothing is active", func() bool { return sum(active(b, "db")) == 0 && b.traffic("db").Active == 0 })
		w.eventually("the descriptors are closed", func() bool { return descriptors(w, pid) <= filesBefore+slackFiles })
		var left int64
		w.eventually("the memory is given back", func() bool {
			left = proportionalMemory(w, pid) - memoryBefore
			return left <= slackMemory
		})
		w.Logf("afterwards: %d more descriptors, %d KiB more memory", descriptors(w, pid)-filesBefore, left>>10)
		b.wantEnds("db", map[string]int64{"client_closed": waves * atATime})
		if got := b.traffic("db"); got.Accepted != waves*atATime {
			w.Errorf("%d connections were accepted, want %d", got.Accepted, waves*atATime)
		}
	})
}
