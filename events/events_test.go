package events

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// add writes one event for each of the servers named, one per letter.
func add(r *Ring, servers string) {
	for _, name := range strings.Split(servers, "") {
		r.Add(Event{Kind: ServerReady, Server: name})
	}
}

// read returns the servers of the events after an ID, that of the last one, and how
// many were missed.
func read(r *Ring, after int64) (servers string, last, missed int64) {
	all, missed, _ := r.After(after)
	last = after
	for _, e := range all {
		servers += e.Server
		last = e.ID
	}
	return servers, last, missed
}

// want compares what a reader reads; it returns up to where.
func want(t *testing.T, r *Ring, after int64, servers string, missed int64) (last int64) {
	t.Helper()
	got, last, lost := read(r, after)
	if got != servers || lost != missed {
		t.Fatalf("read %q and missed %d, want %q and %d", got, lost, servers, missed)
	}
	return last
}

func TestReaderGoesOnWhereItWas(t *testing.T) {
	r := New(4)
	at := want(t, r, 0, "", 0)
	add(r, "ab")
	at = want(t, r, at, "ab", 0)
	at = want(t, r, at, "", 0)
	add(r, "cd")
	at = want(t, r, at, "cd", 0)
	want(t, r, 0, "abcd", 0)
	add(r, "efghij") // two more than it can know of
	at = want(t, r, at, "ghij", 2)
	want(t, r, 0, "ghij", 6)
	want(t, r, at-1, "j", 0)
}

// A reader of the process before reads all that the next one has.
func TestIDsOfAProcessBefore(t *testing.T) {
	before := New(4)
	add(before, "abcdef")
	last := want(t, before, 0, "cdef", 2)
	time.Sleep(time.Millisecond) // no process starts that fast
	r := New(4)
	add(r, "xy")
	if next := want(t, r, last, "xy", 0); next <= last {
		t.Errorf("the ID after a restart is %d, before it was %d", next, last)
	}
	want(t, r, 1<<62, "xy", 0) // the clock was set back
	want(t, r, -1, "xy", 0)
}

// A process that takes another one's place tells what that has told, and a reader of
// that one goes on where it was.
func TestEventsOfTheProcessBefore(t *testing.T) {
	before := New(4)
	add(before, "abcdef")
	all, _, _ := before.After(0)
	atD := want(t, before, all[0].ID, "def", 0) - 2
	time.Sleep(time.Millisecond)
	r := New(4)
	add(r, "x")
	foreign := Event{ID: 1 << 60, Server: "?"}
	r.Inherit(append([]Event{all[0], all[0], foreign}, all[1:]...))
	add(before, "z") // too late to be known
	z := want(t, before, all[3].ID, "z", 0)

	want(t, r, 0, "defx", 1)
	want(t, r, atD, "efx", 0)
	atX := want(t, r, z, "x", 0)
	want(t, r, 1<<62, "defx", 1)
	add(r, "y")
	want(t, r, 0, "efxy", 2)
	want(t, r, atX, "y", 0)
	add(r, "12345")
	want(t, r, atD, "2345", 5)
	want(t, r, 0, "2345", 7)
	want(t, r, atX, "2345", 2)

	anything := func(*Event) bool { return true }
	if e, known := r.Inherited(anything); known {
		t.Errorf("inherited %+v", e)
	}
	next := New(4)
	all, _, _ = r.After(0)
	next.Inherit(all)
	want(t, next, atX, "2345", 0)
	if e, known := next.Inherited(anything); !known || e.Server != "5" {
		t.Errorf("inherited %+v, %t", e, known)
	}
}

func TestWaitingForMore(t *testing.T) {
	r := New(4)
	add(r, "a")
	_, _, more := r.After(0)
	_, _, also := r.After(0)
	select {
	case <-more:
		t.Fatal("told of more before there was")
	default:
	}
	add(r, "b")
	<-more
	<-also
	_, _, more = r.After(0)
	select {
	case <-more:
		t.Fatal("told of what was read")
	default:
	}
}

// What happens again within a second is one event, but only if nothing else has
// happened in between: the last event of a server says how it is.
func TestFolding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(100)
		up := Event{Kind: ServerReady, Pool: "web", Server: "a"}
		down := Event{Kind: ServerNotReady, Pool: "web", Server: "a", Reason: "connection refused"}
		timeout := down
		timeout.Reason = "no answer within 2s"
		reload := Event{Kind: ConfigReloaded, Details: []string{"pool added"}}
		for _, e := range []Event{up, up, up, down, timeout, up, reload, reload} {
			r.Add(e)
		}
		time.Sleep(time.Second)
		r.Add(reload)
		r.Add(up)
		time.Sleep(999 * time.Millisecond)
		r.Add(up)
		time.Sleep(time.Millisecond)
		r.Add(up)
		all, _, _ := r.After(0)
		var got []string
		for _, e := range all {
			got = append(got, fmt.Sprint(e.Kind, e.Count))
		}
		const want = "server_ready3 server_not_ready1 server_not_ready1 server_ready1 config_reloaded1 config_reloaded1 config_reloaded1 server_ready2 server_ready1"
		if strings.Join(got, " ") != want {
			t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
		}
	})
}

func TestEventsAreBounded(t *testing.T) {
	r := New(2)
	r.Add(Event{Reason: strings.Repeat("ö", 1000), Details: strings.Split(strings.Repeat(strings.Repeat("x", 1000)+" ", 30), " ")})
	all, _, _ := r.After(0)
	e := all[0]
	if len(e.Reason) > maxText+len("…") || !utf8.ValidString(e.Reason) || len(e.Details) != maxDetails || e.Details[maxDetails-1] != "…" {
		t.Errorf("kept %d bytes, %d details, the last %q", len(e.Reason), len(e.Details), e.Details[len(e.Details)-1])
	}
	if e.At.IsZero() || e.Count != 1 {
		t.Errorf("at %v, count %d", e.At, e.Count)
	}
}

// Writers wait for no reader, and readers of any speed read everything once and in
// order, or are told how much they missed.
func TestReadersAndWriters(t *testing.T) {
	const writers, each, size = 4, 5000, 64
	r := New(size)
	done, cancel := context.WithCancel(t.Context())
	var reading, writing sync.WaitGroup
	for slow := range 4 {
		reading.Go(func() {
			at, seen := int64(0), int64(0)
			for {
				all, missed, more := r.After(at)
				seen += missed
				for _, e := range all {
					if at != 0 && e.ID != at+1+missed {
						t.Errorf("after %d came %d, missed %d", at, e.ID, missed)
					}
					at, missed = e.ID, 0
					seen++
				}
				if len(all) == 0 && done.Err() != nil {
					break
				}
				if len(all) > 0 && slow > 0 {
					time.Sleep(time.Duration(slow) * 10 * time.Microsecond)
				}
				select {
				case <-more:
				case <-done.Done():
				}
			}
			if seen != writers*each {
				t.Errorf("read and missed %d, want %d", seen, writers*each)
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				r.Add(Event{Kind: ServerReady, Server: fmt.Sprint(w, i)})
			}
		})
	}
	writing.Wait()
	cancel()
	reading.Wait()
}

func BenchmarkAdd(b *testing.B) {
	r := New(1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := Event{Kind: ServerReady, Pool: "web", Server: "a"}
		if i%2 == 0 {
			e.Kind = ServerNotReady
		}
		r.Add(e)
	}
}
