package e2e_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// The addresses of the machines in these stories. They meet nobody else's: each
// namespace has its own.
const (
	toServers = "10.99.0.1" // fulcrum's on the cable to the servers
	alsoThere = "10.99.0.3" // as well
	ofServer  = "10.99.0.2"
	toClients = "10.99.1.1" // fulcrum's on the cable to the clients
	ofClient  = "10.99.1.2"
)

// The ways to notice that the other side is gone, which are names of listeners
// and pools, and what they have in the config.
var waysToNotice = map[string]object{
	"asks":  {"tcp_keepalive": "1s"},
	"waits": {"tcp_user_timeout": "2s"},
	"bare":  {},
}

// noticing is a config in which either the listeners or the pools have the ways
// to notice.
func noticing(io, address, server, which string) object {
	var listeners, pools []object
	for way, options := range waysToNotice {
		listener := object{"name": way, "protocol": "tcp", "address": address + ":0", "pool": way}
		pool := object{"name": way, "servers": []string{server}, "health": quick(nil)}
		of := map[string]object{"listeners": listener, "pools": pool}[which]
		for key, value := range options {
			of[key] = value
		}
		listeners, pools = append(listeners, listener), append(pools, pool)
	}
	return object{"io": io, "listeners": listeners, "pools": pools}
}

// parted are the ends of a connection: of one that is here, and one that goes.
type parted struct{ here, gone closer }

// wantNoticed reads until the connection has failed, which has to be in time. The
// kernel may be late, and so may the test on a machine that is busy.
func wantNoticed(w *world, what string, p parted, since time.Time, least, most time.Duration) {
	w.Helper()
	n, err := p.here.Read(make([]byte, 1))
	took := time.Since(since).Round(time.Millisecond)
	w.Logf("%s: noticed after %s", what, took)
	if n > 0 || !errors.Is(err, syscall.ECONNRESET) {
		w.Errorf("%s: read %d bytes, %v; want a reset", what, n, err)
	}
	if took < least || took > most {
		w.Errorf("%s: noticed after %s, want %s to %s", what, took, least, most)
	}
}

// tellApart is the story of couples that are parted. vanish has one end of each
// go; comeBack lets it return.
func tellApart(w *world, couples map[string]parted, silent parted, vanish, comeBack func(), stillOpen func() int64) {
	w.Helper()
	const question = "anybody there?"
	vanish()
	for _, way := range []string{"waits", "bare"} {
		_, err := io.WriteString(couples[way].here, question)
		w.must(err)
	}
	began := time.Now()
	wantNoticed(w, "sent to in vain, tcp_user_timeout 2s", couples["waits"], began, time.Second, 12*time.Second)
	wantNoticed(w, "silent, tcp_keepalive 1s", couples["asks"], began, 2*time.Second, 15*time.Second)
	if n := stillOpen(); n != 2 {
		w.Errorf("%d connections without either are open, want both", n)
	}

	comeBack()
	got := make([]byte, len(question))
	if _, err := io.ReadFull(couples["bare"].gone, got); err != nil || string(got) != question {
		w.Errorf("what was sent meanwhile without either arrives as %q, %v", got, err)
	}
	_, err := io.WriteString(silent.here, "!")
	w.must(err)
	if n, err := silent.gone.Read(make([]byte, 1)); n != 1 || err != nil {
		w.Errorf("the silent connection without either is broken: %v", err)
	}
}

// TestServerVanishes without a word: its checks fail, and connections to it are
// ended in the time set, or not at all.
func TestServerVanishes(t *testing.T) {
	needNamespaces(t)
	overEachIO(t, 50*time.Second, func(w *world, io string) {
		here, there := w.machine("fulcrum"), w.machine("server")
		here.connect([]string{toServers}, there, ofServer)
		l := there.listen(ofServer)
		arrived := w.partnersOn(l)
		b := here.balance(noticing(io, "127.0.0.1", l.Addr().String(), "pools"))
		couples := make(map[string]parted)
		meet := func(way string) parted {
			client, server := here.meet(b.listeners[way], arrived)
			return parted{client, server}
		}
		for way := range waysToNotice {
			couples[way] = meet(way)
		}
		tellApart(w, couples, meet("bare"),
			func() {
				there.vanish()
				b.awaitServer("bare", l.Addr().String(), "not ready", notReady)
			},
			func() {
				there.comeBack()
				b.awaitServer("bare", l.Addr().String(), "ready again", ready)
			},
			func() int64 { return b.traffic("bare").Active })
		b.wantEnds("asks", map[string]int64{"server_reset": 1})
		b.wantEnds("waits", map[string]int64{"server_reset": 1})
		b.wantEnds("bare", map[string]int64{})
	})
}

// TestClientVanishes without a word: a listener's connections to it are ended in
// the time set, and their servers told, or not at all.
func TestClientVanishes(t *testing.T) {
	needNamespaces(t)
	overEachIO(t, 50*time.Second, func(w *world, io string) {
		here, there := w.machine("fulcrum"), w.machine("client")
		here.connect([]string{toClients}, there, ofClient)
		l := here.listen("127.0.0.1")
		arrived := w.partnersOn(l)
		b := here.balance(noticing(io, toClients, l.Addr().String(), "listeners"))
		couples := make(map[string]parted)
		meet := func(way string) parted {
			client, server := there.meet(b.listeners[way], arrived)
			return parted{server, client}
		}
		for way := range waysToNotice {
			couples[way] = meet(way)
		}
		tellApart(w, couples, meet("bare"), there.vanish, there.comeBack,
			func() int64 { return b.traffic("bare").Active })
		b.wantEnds("asks", map[string]int64{"client_reset": 1})
		b.wantEnds("waits", map[string]int64{"client_reset": 1})
		b.wantEnds("bare", map[string]int64{})
	})
}

// TestSourcesAreUsedInTurn: servers see connections from each of a pool's source
// addresses in turn, or from their own.
func TestSourcesAreUsedInTurn(t *testing.T) {
	needNamespaces(t)
	overEachIO(t, 30*time.Second, func(w *world, io string) {
		here, there := w.machine("fulcrum"), w.machine("server")
		here.connect([]string{toServers, alsoThere}, there, ofServer)
		pooled, own := there.listen(ofServer), there.listen(ofServer)
		arrivedPooled, arrivedOwn := w.partnersOn(pooled), w.partnersOn(own)
		listener := func(name string) object {
			return object{"name": name, "protocol": "tcp", "address": "127.0.0.1:0", "pool": name}
		}
		sources := []string{toServers, alsoThere}
		b := here.balance(object{
			"io":        io,
			"listeners": []object{listener("pooled"), listener("own")},
			"pools": []object{
				{"name": "pooled", "source": sources, "health": false, "servers": []string{pooled.Addr().String()}},
				{"name": "own", "source": sources, "health": false, "servers": []object{{"address": own.Addr().String(), "source": alsoThere}}},
			},
		})
		seen := func(listener string, arrived <-chan *partner) string {
			_, server := here.meet(b.listeners[listener], arrived)
			host, _, err := net.SplitHostPort(server.RemoteAddr().String())
			w.must(err)
			return host
		}
		last := seen("pooled", arrivedPooled)
		for range 10 {
			now := seen("pooled", arrivedPooled)
			if now == last || now != toServers && now != alsoThere {
				w.Fatalf("a connection from %s after one from %s, want %v in turn", now, last, sources)
			}
			last = now
		}
		for range 4 {
			if now := seen("own", arrivedOwn); now != alsoThere {
				w.Errorf("a connection from %s to the server whose own source is %s", now, alsoThere)
			}
		}
	})
}
