package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	bulk      = 1 << 30  // bytes each way
	maxGrowth = 64 << 20 // of fulcrum's resident memory, meanwhile
)

// pattern is a stream of bytes that repeats nowhere: blocks of noise with a
// number at the beginning of each. It is read once.
type pattern struct {
	left, block int64
	noise       []byte
	rest        []byte // of the block that is being read
}

var noise = sync.OnceValue(func() []byte {
	b := make([]byte, 64<<10)
	rand.NewChaCha8([32]byte{2}).Read(b)
	return b
})

func newPattern(size int64) *pattern { return &pattern{left: size, noise: bytes.Clone(noise())} }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if len(p.rest) == 0 {
		binary.BigEndian.PutUint64(p.noise, uint64(p.block))
		p.block++
		p.rest = p.noise[:min(int64(len(p.noise)), p.left)]
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	p.left -= int64(n)
	return n, nil
}

// patternDigest is what digestOf says of a pattern of that size that arrived
// whole.
func patternDigest(size int64) string {
	if size == bulk {
		return bulkDigest()
	}
	return computeDigest(size)
}

var bulkDigest = sync.OnceValue(func() string { return computeDigest(bulk) })

func computeDigest(size int64) string {
	d := newDigest()
	io.Copy(d, newPattern(size))
	return d.String()
}

// digest sums up a stream by its size and checksum.
type digest struct {
	hash.Hash
	size int64
}

func newDigest() *digest { return &digest{Hash: sha256.New()} }

func (d *digest) Write(b []byte) (int, error) {
	d.size += int64(len(b))
	return d.Hash.Write(b)
}

func (d *digest) String() string { return fmt.Sprintf("%d:%x", d.size, d.Sum(nil)) }

// digestOf reads a stream to its end.
func digestOf(w *world, from io.Reader, want int64) string {
	w.Helper()
	d := newDigest()
	if _, err := io.Copy(d, from); err != nil {
		w.Fatalf("after %d of %d bytes: %v", d.size, want, err)
	}
	return d.String()
}

// memory reads VmRSS and VmHWM (the peak of VmRSS) of a process, in bytes.
func memory(w *world, pid int) (now, peak int64) {
	w.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	w.must(err)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	return now, peak
}

// wantBounded runs something big and fails the test if fulcrum's memory has
// grown with it.
func wantBounded(b *balancer, run func()) {
	b.w.Helper()
	before, _ := memory(b.w, b.cmd.Process.Pid)
	started := time.Now()
	run()
	_, peak := memory(b.w, b.cmd.Process.Pid)
	b.w.Logf("memory was %d MiB, at most %d MiB; took %s", before>>20, peak>>20, time.Since(started).Round(time.Millisecond))
	if peak-before > maxGrowth {
		b.w.Errorf("fulcrum's memory has grown by %d MiB, want at most %d MiB", (peak-before)>>20, maxGrowth>>20)
	}
}

// balancePlain is balance with the binary whose memory means something.
func (w *world) balancePlain(config object) *balancer {
	w.Helper()
	b := w.startBalancer(plainBinary, config)
	b.awaitReady()
	return b
}

// bulkOrigin takes uploads and answers with their digest, and sends a pattern
// to whoever downloads; with ?chunked without saying its length.
func bulkOrigin(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		d := newDigest()
		if _, err := io.Copy(d, r.Body); err != nil {
			return
		}
		fmt.Fprint(rw, d)
		return
	}
	if r.URL.RawQuery != "chunked" {
		rw.Header().Set("Content-Length", strconv.Itoa(bulk))
	}
	io.CopyBuffer(struct{ io.Writer }{rw}, newPattern(bulk), make([]byte, 256<<10))
}

// TestBulkOverHTTP: curl uploads and downloads 1 GiB.
func TestBulkOverHTTP(t *testing.T) {
	w := newWorld(t, 80*time.Second)
	b := w.balancePlain(httpOnly(w.httpServer(bulkOrigin)))
	want := patternDigest(bulk)
	url := "http://" + b.listeners["web"] + "/file"
	upload := func(args ...string) {
		cmd := w.command("curl", append([]string{"-sS", "--fail", "-T", "-", url}, args...)...)
		cmd.Stdin = newPattern(bulk)
		p := w.start(cmd)
		w.await("curl has ended", p.ended)
		if got := p.stdout.String(); p.code() != 0 || got != want {
			t.Errorf("curl -T: exit code %d; what arrived is %s, want %s", p.code(), got, want)
		}
	}
	download := func(url string) {
		d := newDigest()
		cmd := w.command("curl", "-sS", "--fail", url)
		cmd.Stdout = d
		p := w.start(cmd)
		w.await("curl has ended", p.ended)
		if got := d.String(); p.code() != 0 || got != want {
			t.Errorf("curl: exit code %d; what arrived is %s, want %s", p.code(), got, want)
		}
	}
	wantBounded(b, func() { upload() })
	wantBounded(b, func() { upload("-H", fmt.Sprint("Content-Length: ", bulk), "-H", "Transfer-Encoding:") })
	wantBounded(b, func() { download(url) })
	wantBounded(b, func() { download(url + "?chunked") })
}

// TestBulkOverTCP: 1 GiB each way on one connection.
func TestBulkOverTCP(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	b := w.balancePlain(tcpOnly(w.tcpServer(func(conn *net.TCPConn) {
		d := newDigest()
		if _, err := io.CopyN(d, struct{ io.Reader }{conn}, bulk); err != nil {
			return
		}
		fmt.Fprintln(conn, d)
		io.CopyBuffer(struct{ io.Writer }{conn}, newPattern(bulk), make([]byte, 256<<10))
	})))
	want := patternDigest(bulk)
	conn := w.dial(b.listeners["db"])
	wantBounded(b, func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{conn}, newPattern(bulk), make([]byte, 256<<10))
		w.must(err)
		got := make([]byte, len(want)+1)
		_, err = io.ReadFull(conn, got)
		w.must(err)
		if string(got) != want+"\n" {
			t.Errorf("what arrived at the server is %s, want %s", got, want)
		}
	})
	wantBounded(b, func() {
		if got := digestOf(w, struct{ io.Reader }{conn}, bulk); got != want {
			t.Errorf("what arrived at the client is %s, want %s", got, want)
		}
	})
}

// TestSlowReadersCostLittleMemory: clients that read nothing hold the servers
// back, over both protocols, instead of filling fulcrum's memory.
func TestSlowReadersCostLittleMemory(t *testing.T) {
	const clients = 20
	w := newWorld(t, 40*time.Second)
	var sent atomic.Int64
	pour := func(to io.Writer) {
		for buffer := make([]byte, 64<<10); ; {
			n, err := to.Write(buffer)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}
	web := w.httpServer(func(rw http.ResponseWriter, _ *http.Request) { pour(rw) })
	db := w.tcpServer(func(conn *net.TCPConn) { pour(conn) })
	config := httpAndTCP([]any{web}, []any{db}, "round_robin")
	config["pools"].([]object)[0]["health"] = false
	config["pools"].([]object)[1]["health"] = false
	b := w.balancePlain(config)
	wantBounded(b, func() {
		for range clients {
			io.WriteString(w.dial(b.listeners["web"]), "GET / HTTP/1.1\r\nHost: e2e\r\n\r\n")
			w.dial(b.listeners["db"])
		}
		w.eventually("everybody is connected", func() bool { return sum(active(b, "web")) == clients && sum(active(b, "db")) == clients })
		last, since := int64(-1), time.Now()
		w.eventually("the servers are held back", func() bool {
			if now := sent.Load(); now != last {
				last, since = now, time.Now()
			}
			return time.Since(since) > 500*time.Millisecond
		})
		t.Logf("the servers were held back after %d MiB", sent.Load()>>20)
	})
}
