package httpproxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const webSocketUpgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// rawWebSockets is a server that upgrades, with early bytes behind its answer, and
// hands its side of each WebSocket over.
func rawWebSockets(t *testing.T, early string) (address string, opened <-chan *wire) {
	all, over := make(chan *wire, 10), make(chan struct{})
	address = rawOrigin(t, func(_ int, r *wire) {
		if _, ok := r.tryHead(); ok {
			io.WriteString(r, "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+early)
			all <- r
			<-over
		}
	})
	t.Cleanup(func() { close(over) })
	return address, all
}

// openRaw opens a WebSocket by hand; sent and early are what either side sends at once.
func openRaw(t *testing.T, sent, early string) (w *world, client, server *wire) {
	t.Helper()
	addr, opened := rawWebSockets(t, early)
	w = newWorld(t, nil, addr)
	client = w.dial()
	client.send("%s", webSocketUpgrade+sent)
	client.head()
	server = <-opened
	client.wants(early)
	server.wants(sent)
	return w, client, server
}

// wants reads that.
func (r *wire) wants(want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r.br, got); err != nil || string(got) != want {
		r.t.Fatalf("got %q, want %q, error %v", got[:n], want, err)
	}
}

// wantsClose reads a Close frame that says who sends it is going away.
func (r *wire) wantsClose(masked bool) {
	r.t.Helper()
	got := make([]byte, len(appendClose(nil, masked)))
	if _, err := io.ReadFull(r.br, got); err != nil {
		r.t.Fatalf("no Close frame: %v", err)
	}
	if masked {
		got = []byte{got[0], got[1] &^ 0x80, got[6] ^ got[2], got[7] ^ got[3]}
	}
	if want := "\x88\x02\x03\xe9"; string(got) != want {
		r.t.Fatalf("got %x, want %x", got, want)
	}
}

// wantsEnd reads to an end without a word.
func (r *wire) wantsEnd() {
	r.t.Helper()
	if rest := r.ends(); rest != "" {
		r.t.Errorf("got %x", rest)
	}
}

// left waits until a tunnel is closed, which has to be for the operator's sake.
func (w *world) left() {
	w.t.Helper()
	w.idle()
	if s := w.proxy.Stats(); s.Endings[Drained] != 1 {
		w.t.Errorf("ended as %v", s.Endings)
	}
}

var text, done = string(frame(1, 5, true)), string(frame(opcodeClose, 0, true))

// Both sides of a WebSocket are told, whatever closes it, and in time.
func TestFarewell(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world){
		"CloseAll":    func(w *world) { w.proxy.CloseAll() },
		"CloseServer": func(w *world) { w.proxy.CloseServer(w.server(0)); w.proxy.CloseServer(w.server(0)) },
		"Stop": func(w *world) {
			if err := w.proxy.Stop(within(w.t, 0)); err == nil || !strings.Contains(err.Error(), "closed 1 connections") {
				w.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			w := newWorld(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
				c, err := websocket.Accept(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.CloseNow()
				for err == nil {
					_, _, err = c.Read(context.Background())
				}
				ended <- err
			}))
			ctx := within(t, 10*time.Second)
			c, _, err := websocket.Dial(ctx, "ws://"+w.addr, &websocket.DialOptions{HTTPClient: w.http})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			stopped := make(chan struct{})
			go func() { defer close(stopped); end(w) }()
			_, _, err = c.Read(ctx)
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("the client: %v", err)
			}
			if err := <-ended; websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("the server: %v", err)
			}
			<-stopped
			w.left()
		})
	}
}

// The connections stay until both have answered; what comes before the answers goes no
// further.
func TestFarewellWaitsForBoth(t *testing.T) {
	t.Parallel()
	w, client, server := openRaw(t, text, text)
	w.proxy.CloseAll()
	client.wantsClose(false)
	server.wantsClose(true)
	client.send("%s", text+done)
	w.each(func(*worker) {})
	if w.server(0).Active() != 1 {
		t.Fatal("over, and the server has not answered")
	}
	server.send("%s", text+done)
	client.wantsEnd()
	server.wantsEnd()
	w.left()
}

// Who does not answer is not waited for for long, even if it takes nothing.
func TestFarewellToTheSilent(t *testing.T) {
	t.Parallel()
	for _, stuffed := range []bool{false, true} {
		t.Run(fmt.Sprint(stuffed), func(t *testing.T) {
			t.Parallel()
			w, client, server := openRaw(t, "", "")
			if stuffed {
				server.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
				block := frame(2, 1<<20, false)
				for err := error(nil); err == nil; {
					_, err = server.Write(block)
				}
			}
			began := time.Now()
			w.proxy.CloseAll()
			server.wantsClose(true)
			server.ends()
			if took := time.Since(began); took < farewellFor-50*time.Millisecond {
				t.Errorf("closed after %v", took)
			}
			client.ends()
			w.left()
		})
	}
}

// A side in the middle of a frame is told nothing, and the other one is; nobody waits
// when that is both.
func TestFarewellInTheMiddleOfAFrame(t *testing.T) {
	t.Parallel()
	most, last := text[:len(text)-1], text[len(text)-1:]
	for name, c := range map[string]struct {
		sent, early            string // of which the last frame is
		rest                   string // still to come
		clientTold, serverTold bool
	}{
		"both":                        {sent: most, early: most},
		"of the client's":             {sent: most, rest: last, clientTold: true},
		"of the client's, in a head":  {sent: text + text[:1], rest: text[1:], clientTold: true},
		"of the server's":             {early: most, rest: last, serverTold: true},
		"of the server's, in a head":  {early: text[:1], rest: text[1:], serverTold: true},
		"of the server's, endless":    {early: "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", serverTold: true},
		"of the client's, before any": {sent: "\x81", rest: text[1:], clientTold: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, client, server := openRaw(t, c.sent, c.early)
			w.proxy.CloseAll()
			if c.clientTold {
				client.wantsClose(false)
				client.send("%s", c.rest+done)
			}
			if c.serverTold {
				server.wantsClose(true)
				server.send("%s", c.rest+done)
			}
			client.wantsEnd()
			server.wantsEnd()
			w.left()
		})
	}
}

// One that is being closed already is not told twice, but answered.
func TestFarewellWhileClosing(t *testing.T) {
	t.Parallel()
	w, client, server := openRaw(t, text, "")
	client.send("%s", done)
	server.wants(done)
	w.proxy.CloseAll()
	client.wantsClose(false)
	server.send("%s", done)
	server.wantsEnd()
	client.wantsEnd()
	w.left()
}

// Sides that end or reset their connections instead of an answer.
func TestFarewellWithoutAWord(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(r *wire){
		"ends":   func(r *wire) { r.CloseWrite() },
		"resets": func(r *wire) { r.SetLinger(0); r.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, client, server := openRaw(t, "", "")
			w.proxy.CloseAll()
			client.wantsClose(false)
			server.wantsClose(true)
			end(client)
			w.each(func(*worker) {})
			end(server)
			w.left()
		})
	}
}

// Once a side has ended its direction there is nobody to be told.
func TestFarewellOfTheHalfClosed(t *testing.T) {
	t.Parallel()
	w, client, server := openRaw(t, "", "")
	client.CloseWrite()
	server.wantsEnd()
	w.proxy.CloseAll()
	client.wantsEnd()
	w.left()
}

// Other upgrades than WebSocket's get nothing that is not theirs.
func TestNoFarewellOfOtherTunnels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, switching(t))
	r := w.dial()
	r.send(upgrade)
	r.head()
	r.wants("hello ")
	w.proxy.CloseAll()
	r.wantsEnd()
	w.left()
}

// A shorter idle timeout does not end a farewell.
func TestUpdateDuringAFarewell(t *testing.T) {
	t.Parallel()
	addr, opened := rawWebSockets(t, "")
	w, update := updatable(t, nil, addr)
	client := w.dial()
	client.send(webSocketUpgrade)
	client.head()
	server := <-opened
	began := time.Now()
	w.proxy.CloseAll()
	client.wantsClose(false)
	server.wantsClose(true)
	update(func(o *Options) { o.IdleTimeout = time.Second })
	w.eventually("it was cut short, or some time has passed", func() bool {
		return w.server(0).Active() == 0 || time.Since(began) > farewellFor/5
	})
	if w.server(0).Active() == 0 && time.Since(began) < farewellFor {
		t.Error("cut short")
	}
	client.send("%s", done)
	server.send("%s", done)
	w.left()
}

// echoing returns what sends a message of n bytes through a WebSocket and reads it
// back.
func (w *world) echoing(n int) (echo func()) {
	r := w.dial()
	r.SetDeadline(time.Time{})
	r.send(webSocketUpgrade)
	r.head()
	message := frame(2, n, true)
	got := make([]byte, len(message))
	return func() {
		if _, err := r.Write(message); err != nil {
			w.t.Fatal(err)
		}
		if _, err := io.ReadFull(r.br, got); err != nil {
			w.t.Fatal(err)
		}
	}
}

// rawEcho upgrades and sends back what it gets.
func rawEcho(t testing.TB) string {
	return rawOrigin(t, func(_ int, r *wire) {
		r.SetDeadline(time.Time{})
		r.tryHead()
		io.WriteString(r, "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		b := make([]byte, 64<<10)
		for {
			n, err := r.br.Read(b)
			if err != nil {
				return
			}
			r.Write(b[:n])
		}
	})
}

func TestMessagesCostNoMemory(t *testing.T) {
	const messages = 1000
	for _, size := range []int{100, 100_000} {
		w := newWorld(t, nil, rawEcho(t))
		echo := w.echoing(size)
		for range 200 {
			echo()
		}
		gc := debug.SetGCPercent(-1)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range messages {
			echo()
		}
		runtime.ReadMemStats(&after)
		debug.SetGCPercent(gc)
		if n := after.Mallocs - before.Mallocs; n > messages/20 {
			t.Errorf("%d allocations for %d messages of %d bytes", n, messages, size)
		}
	}
}

func BenchmarkWebSocketEcho(b *testing.B) {
	for _, size := range []int{100, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := newWorld(b, nil, rawEcho(b))
			echo := w.echoing(size)
			for range 100 {
				echo()
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				echo()
			}
		})
	}
}
