package e2e_test

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"
)

// httpAndTCP is a config with an http listener "web" and a tcp listener "db",
// each with a pool of its name. A server is an address or an object.
func httpAndTCP(web, db []any, algorithm string) object {
	return object{
		"listeners": []object{
			{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"},
			{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "db"},
		},
		"pools": []object{
			{"name": "web", "algorithm": algorithm, "servers": web, "health": object{"interval": "1s", "path": "/"}},
			{"name": "db", "algorithm": algorithm, "servers": db},
		},
	}
}

// weighted writes peers as servers of a config, with weights if there are any.
func weighted(peers []*peer, weights ...int) []any {
	var all []any
	for i, p := range peers {
		if weights == nil {
			all = append(all, p.address)
		} else {
			all = append(all, object{"address": p.address, "weight": weights[i]})
		}
	}
	return all
}

// wantSpread compares who answered with what was wanted of each peer, give or
// take one.
func wantSpread(w *world, got map[string]int, peers []*peer, want ...int) {
	w.Helper()
	for i, p := range peers {
		if off := got[p.name] - want[i]; off < -1 || off > 1 {
			w.Errorf("%s answered %d times, want %d: %v", p.name, got[p.name], want[i], got)
		}
	}
}

// TestSequentialRequestsAreSpread: with one request at a time round_robin
// follows the weights exactly, and least_connections, for which all servers are
// equal then, gives them turns.
func TestSequentialRequestsAreSpread(t *testing.T) {
	for _, test := range []struct {
		algorithm string
		weights   []int
		want      []int
	}{
		{"round_robin", nil, []int{20, 20, 20}},
		{"round_robin", []int{1, 2, 3}, []int{10, 20, 30}},
		{"least_connections", nil, []int{20, 20, 20}},
		{"least_connections", []int{1, 2, 3}, []int{10, 20, 30}},
	} {
		t.Run(fmt.Sprintf("%s %v", test.algorithm, test.weights), func(t *testing.T) {
			w := newWorld(t, 30*time.Second)
			web, db := w.nginxes("one", "two", "three"), w.redises("one", "two", "three")
			b := w.balance(httpAndTCP(weighted(web, test.weights...), weighted(db, test.weights...), test.algorithm))
			byHTTP, byTCP := map[string]int{}, map[string]int{}
			for range 60 {
				byHTTP[w.name(b.listeners["web"])]++
				byTCP[redisNameOnce(w, b.listeners["db"])]++
				w.eventually("nothing is active", func() bool { return sum(active(b, "db"))+sum(active(b, "web")) == 0 })
			}
			wantSpread(w, byHTTP, web, test.want...)
			wantSpread(w, byTCP, db, test.want...)
		})
	}
}

// TestHeldWorkIsSpreadByWeight: requests and connections that stay are placed
// where the least is active for the weight.
func TestHeldWorkIsSpreadByWeight(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	var web []any
	var gates []*gate
	for i, name := range []string{"one", "two", "three"} {
		g := w.gate(name)
		gates = append(gates, g)
		web = append(web, object{"address": g.address, "weight": i + 1})
	}
	db := w.redises("one", "two", "three")
	b := w.balance(httpAndTCP(web, weighted(db, 1, 2, 3), "least_connections"))
	var held []<-chan answer
	for range 24 {
		held = append(held, w.getLater(b.listeners["web"], "/held"))
		conn := w.dial(b.listeners["db"])
		if _, _, err := redisName(conn, bufio.NewReader(conn)); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("all requests are held", func() bool { return sum(active(b, "web")) == 24 })
	for _, pool := range []string{"web", "db"} {
		if got, want := fmt.Sprint(active(b, pool)), "[4 8 12]"; got != want {
			t.Errorf("pool %s: active is %s, want %s", pool, got, want)
		}
	}
	for _, g := range gates {
		g.open()
	}
	for _, h := range held {
		if a := receive(w, "a held request is answered", h); a.err != nil || a.status != 200 {
			t.Errorf("a held request: %+v", a)
		}
	}
}

// TestMaxConnections: a server that is full is not chosen, and when all are, the
// client is told at once.
func TestMaxConnections(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	g := w.gate("one")
	limited := []any{object{"address": g.address, "max_connections": 2}}
	echo := []any{object{"address": w.echoServer(), "max_connections": 1}}
	b := w.balance(httpAndTCP(limited, echo, "round_robin"))
	held := []<-chan answer{w.getLater(b.listeners["web"], "/held"), w.getLater(b.listeners["web"], "/held")}
	for range held {
		receive(w, "a request arrives", g.arrived)
	}
	if a := w.get(b.listeners["web"], "/"); a.status != 503 {
		t.Errorf("with every server full: %+v, want status 503", a)
	}
	first := w.dial(b.listeners["db"])
	wantEcho(w, first, "first")
	second := w.dial(b.listeners["db"])
	if n, err := second.Read(make([]byte, 1)); err == nil {
		t.Errorf("a connection too many was given %d bytes, want it closed", n)
	}
	wantEcho(w, first, "first again")
	g.open()
	for _, h := range held {
		if a := receive(w, "a held request is answered", h); a.err != nil || a.status != 200 {
			t.Errorf("a held request: %+v", a)
		}
	}
	w.name(b.listeners["web"])
}

// redisNameOnce asks for a redis's name on a connection of its own.
func redisNameOnce(w *world, address string) string {
	w.Helper()
	conn, err := net.Dial("tcp", address)
	w.must(err)
	defer conn.Close()
	conn.SetDeadline(w.deadline())
	name, _, err := redisName(conn, bufio.NewReader(conn))
	w.must(err)
	return name
}

// active returns the active count of each server in a pool.
func active(b *balancer, pool string) []int64 {
	b.w.Helper()
	var all []int64
	for _, s := range b.pools()[pool] {
		all = append(all, s.Active)
	}
	return all
}

func sum(numbers []int64) (all int64) {
	for _, n := range numbers {
		all += n
	}
	return all
}
