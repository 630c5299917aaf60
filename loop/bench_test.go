package loop

import (
	"io"
	"runtime"
	"runtime/debug"
	"testing"
)

// echoOnce sends a small message to an echo on the loop and takes it back.
func echoOnce(t testing.TB, peer io.ReadWriter, b []byte) {
	if _, err := peer.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, b); err != nil {
		t.Fatal(err)
	}
}

func TestAMessageCostsNoMemory(t *testing.T) {
	w := start(t)
	c, peer := w.open(&hooks{data: func(c *Conn, b []byte) {
		c.SetTimer(patience)
		c.Send(b)
	}})
	w.do(c.Resume)
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	b := make([]byte, 64)
	for range 1000 {
		echoOnce(t, peer, b)
	}
	const messages = 10_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range messages {
		echoOnce(t, peer, b)
	}
	runtime.ReadMemStats(&after)
	// The runtime and the test binary may allocate a little of their own.
	if n := after.Mallocs - before.Mallocs; n > messages/100 {
		t.Errorf("%d allocations for %d messages", n, messages)
	}
}

// Buffers for what is unsent are used again.
func TestBackPressureCostsNoMemoryInTheLongRun(t *testing.T) {
	w := start(t)
	sent := make(chan struct{})
	block := make([]byte, readSize)
	c, peer := w.open(&hooks{sent: func(*Conn) { sent <- struct{}{} }})
	fill := func() {
		for c.Unsent() == 0 {
			c.Send(block)
		}
	}
	go io.Copy(io.Discard, peer)
	buffers := map[*byte]bool{}
	for range 50 {
		w.do(func() {
			for fill(); c.unsent == nil; {
				c.Send(block)
			}
			buffers[&c.unsent[:1][0]] = true
		})
		within(t, sent, "nothing is sent")
	}
	if len(buffers) > 2 {
		t.Errorf("%d buffers were made for one connection", len(buffers))
	}
}

func BenchmarkEcho(b *testing.B) {
	w := start(b)
	c, peer := w.open(echoes)
	w.do(c.Resume)
	message := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		echoOnce(b, peer, message)
	}
}

func BenchmarkTimer(b *testing.B) {
	var w wheel
	var a alarm
	b.ReportAllocs()
	for b.Loop() {
		w.start(&a.timer, patience)
	}
}
