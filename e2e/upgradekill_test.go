package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sockets returns the sockets that a process has open, by their inodes.
func sockets(pid int) map[string]bool {
	all := make(map[string]bool)
	folder := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if to, err := os.Readlink(folder + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			all[to] = true
		}
	}
	return all
}

// stopped reports whether all threads of a process are.
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		text, _ := os.ReadFile(thread)
		if _, state, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

// killAt stops a process at some moment, counts the relays of which it has both
// sockets, and kills it.
func killAt(after time.Duration, pid int, relayed map[string]bool) (has int) {
	time.Sleep(after)
	syscall.Kill(pid, syscall.SIGSTOP)
	for until := time.Now().Add(goneWithin); !stopped(pid) && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	for socket := range sockets(pid) {
		if relayed[socket] {
			has++
		}
	}
	syscall.Kill(pid, syscall.SIGKILL)
	return has / 2
}

// moving opens streams and has an upgrade begin under them. It returns the sockets of
// those that are relayed, and the process that takes over.
func (w *world) moving(io string, n int) (s *streams, l *lineage, relayed map[string]bool, heir int, answered <-chan int) {
	w.Helper()
	s = w.streams(2, n)
	s.pause = 500 * time.Millisecond
	l = w.found(plainBinary, w.fixed(s.config(io)))
	before := sockets(l.heir())
	s.open(l.listeners["db"])
	relayed = sockets(l.heir())
	for socket := range before {
		delete(relayed, socket)
	}
	answers := make(chan int, 1)
	go func() {
		status, _, _, _ := l.askUpgrade()
		answers <- status
	}()
	w.eventually("the new process has begun", func() bool { return len(l.started()) == 1 })
	return s, l, relayed, l.started()[0], answers
}

// settled waits until each stream has either gone on or ended, and returns those that
// go on.
func (s *streams) settled() []*stream {
	s.w.Helper()
	was := s.progress()
	s.w.eventually("each stream goes on or has ended", func() bool {
		now := s.progress()
		for i := range now {
			if now[i] != -1 && (now[i] == was[i] || was[i] == -1) {
				return false
			}
		}
		return true
	})
	return s.alive()
}

// progress returns what has come of each stream, -1 if it has ended.
func (s *streams) progress() []int64 {
	all := make([]int64, len(s.all))
	for i, one := range s.all {
		if all[i] = min(one.ways[0].got.Load(), one.ways[1].got.Load()); isClosed(one.ways[0].ended) || isClosed(one.ways[1].ended) {
			all[i] = -1
		}
	}
	return all
}

// TestNewProcessKilled: when the new process is killed at any moment, before it serves
// or while connections move to it, those that it had not taken go on in the old one,
// what it had taken dies, and nobody gets what was not sent. The old one ends once the
// last has.
func TestNewProcessKilled(t *testing.T) {
	const open, rounds = 500, 8
	overEachIO(t, 4*time.Minute, func(w *world, io string) {
		early, died := 0, 0
		for round := range rounds {
			s, l, relayed, heir, answered := w.moving(io, open)
			status, has := 0, 0
			if round%2 == 0 {
				has = killAt(rand.N(60*time.Millisecond), heir, relayed)
				status = receive(w, "the upgrade is answered", answered)
			} else {
				status = receive(w, "the upgrade is answered", answered)
				has = killAt(rand.N(250*time.Millisecond), heir, relayed)
			}
			alive := s.settled()
			w.Logf("round %d: answered %d, the new process had %d, %d go on", round, status, has, len(alive))
			died += open - len(alive)
			// The last one that it had received may not have been taken.
			if lost := open - len(alive); lost > has || lost < has-1 {
				w.Errorf("%d connections are lost, and the new process had %d", lost, has)
			}
			if status != 200 {
				early++
				if len(alive) != open {
					w.Errorf("the new process did not take over, and %d of %d go on", len(alive), open)
				}
				wantEchoes(w, l, s)
				l.upgraded()
				l.awaitHeir()
				alive = s.alive()
			}
			s.finish(alive)
			s.wantNoneCorrupt()
			if status == 200 {
				l.awaitEnd(l.heir())
			}
			l.extinguish()
			for _, one := range s.all {
				one.client.Close()
			}
		}
		w.Logf("%d of %d times before it served; %d connections died", early, rounds, died)
	})
}

// wantEchoes expects that new clients are served.
func wantEchoes(w *world, l *lineage, s *streams) {
	w.Helper()
	conn := w.dial(l.listeners["db"])
	defer conn.Close()
	w.must(ignore(conn.Write([]byte("x"))))
	w.eventually("a new client is served", func() bool { return sum(active(l.balancer, "db")) == int64(len(s.alive()))+1 })
}

// TestOldProcessKilled: when the old process is killed at any moment while connections
// move, those that the new one has taken go on.
func TestOldProcessKilled(t *testing.T) {
	const open, rounds = 500, 6
	overEachIO(t, 4*time.Minute, func(w *world, io string) {
		for round := range rounds {
			s, l, relayed, heir, answered := w.moving(io, open)
			if status := receive(w, "the upgrade is answered", answered); status != 200 {
				w.Fatalf("the upgrade is answered %d", status)
			}
			left := killAt(rand.N(250*time.Millisecond), l.heir(), relayed)
			l.pids = append(l.pids, heir)
			l.awaitHeir()
			l.wantServing(heir)
			taken := -1
			w.eventually("the new process says how much it has taken", func() bool {
				for _, end := range []string{`msg="the old process has left all it had" connections=`, `msg="the old process says no more" connections=`} {
					if _, n, found := strings.Cut(l.said(), end); found {
						n, _, _ = strings.Cut(n, " ")
						taken, _ = strconv.Atoi(n)
					}
				}
				return taken >= 0
			})
			alive := s.settled()
			w.Logf("round %d: the old process had %d, the new one has taken %d, %d go on", round, left, taken, len(alive))
			if len(alive) != taken {
				w.Errorf("%d connections go on, and the new process has taken %d", len(alive), taken)
			}
			if len(alive) < open-left {
				w.Errorf("%d connections go on, and %d had left the old process", len(alive), open-left)
			}
			s.wantCounts(l.balancer, "db")
			if got := sum(active(l.balancer, "db")); got != int64(len(alive)) {
				w.Errorf("%d are counted as active, and %d go on", got, len(alive))
			}
			wantEchoes(w, l, s)
			l.upgraded() // the new process is as any other
			l.awaitHeir()
			s.finish(alive)
			s.wantNoneCorrupt()
			l.extinguish()
			for _, one := range s.all {
				one.client.Close()
			}
		}
	})
}
