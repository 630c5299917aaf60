package e2e_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// quick is a health config that notices soon.
func quick(more object) object {
	health := object{"interval": "400ms", "timeout": "400ms", "rise": 1, "fall": 2}
	for key, value := range more {
		health[key] = value
	}
	return health
}

// underLoad is a config with quick checks: an http listener "web" and a tcp
// listener "db".
func underLoad(web, db []*peer) object {
	config := httpAndTCP(weighted(web), weighted(db), "least_connections")
	pools := config["pools"].([]object)
	pools[0]["health"] = quick(object{"path": "/"})
	pools[1]["health"] = quick(nil)
	return config
}

// TestKilledServerLeavesAndComesBack: kill -9 costs no more than what was in
// flight on the server, nothing once the checks have noticed, and the server is
// used again when it is back on its port.
func TestKilledServerLeavesAndComesBack(t *testing.T) {
	const workers = 6
	w := newWorld(t, 60*time.Second)
	web, db := w.nginxes("one", "two", "three"), w.redises("one", "two", "three")
	b := w.balance(underLoad(web, db))
	loads := []*load{
		w.load("http keep-alive", b.listeners["web"], workers, keepAlive),
		w.load("http close", b.listeners["web"], workers, closing),
		w.load("tcp kept", b.listeners["db"], workers, redisName),
		w.load("tcp short", b.listeners["db"], workers, once(redisName)),
	}
	for _, l := range loads {
		l.more(100)
	}
	web[1].kill()
	db[1].kill()
	b.awaitServer("web", web[1].address, "not ready", notReady)
	b.awaitServer("db", db[1].address, "not ready", notReady)

	during := make([]int64, len(loads))
	for i, l := range loads {
		l.settle()
		during[i] = l.failed.Load()
		t.Logf("until the kill was noticed: %v", l)
		if most := int64(2 * workers); during[i] > most {
			t.Errorf("%s: %d requests failed until the kill was noticed, want at most %d, what was in flight", l.name, during[i], most)
		}
	}
	before := make([]int, len(loads))
	for i, l := range loads {
		before[i] = l.answeredBy("two")
		l.more(300)
		if after := l.answeredBy("two"); after != before[i] {
			t.Errorf("%s: the killed server answered %d more requests", l.name, after-before[i])
		}
	}
	web[1].start()
	db[1].start()
	b.awaitServer("web", web[1].address, "ready again", ready)
	b.awaitServer("db", db[1].address, "ready again", ready)
	for i, l := range loads {
		if l.name == "tcp kept" {
			continue // its connections stay where they are
		}
		w.eventually(l.name+": the server that came back answers", func() bool { return l.answeredBy("two") > before[i]+10 })
	}
	for i, l := range loads {
		l.stop()
		t.Log(l)
		if after := l.failed.Load() - during[i]; after > 0 {
			t.Errorf("%s: %d requests failed after the kill was noticed, want none", l.name, after)
		}
	}
}

// TestHungServer: a server that is stopped still accepts connections, so a check
// that only connects does not notice. Its requests end with 504, the others go
// on; a check that asks for a path takes it out.
func TestHungServer(t *testing.T) {
	w := newWorld(t, 40*time.Second)
	web := w.nginxes("one", "two", "three")
	pool := func(name string, health object) object {
		return object{"name": name, "algorithm": "round_robin", "servers": weighted(web), "response_timeout": "1s", "health": health}
	}
	b := w.balance(object{
		"listeners": []object{
			{"name": "connects", "protocol": "http", "address": "127.0.0.1:0", "pool": "connects"},
			{"name": "asks", "protocol": "http", "address": "127.0.0.1:0", "pool": "asks"},
		},
		"pools": []object{pool("connects", quick(nil)), pool("asks", quick(object{"path": "/"}))},
	})
	web[2].signal(syscall.SIGSTOP)
	t.Cleanup(func() { web[2].signal(syscall.SIGCONT) })
	b.awaitServer("asks", web[2].address, "not ready", notReady)
	for range 6 {
		w.name(b.listeners["asks"])
	}
	if s, _ := b.server("connects", web[2].address); !s.Ready {
		t.Error("a check that only connects has taken the hung server out")
	}

	statuses := map[int]int{}
	for range 9 {
		started := time.Now()
		a := w.get(b.listeners["connects"], "/")
		statuses[a.status]++
		if took := time.Since(started); a.status == 504 && (took < 900*time.Millisecond || took > 4*time.Second) {
			t.Errorf("504 came after %s, want it after the response_timeout of 1s", took)
		}
	}
	if got := fmt.Sprint(statuses); got != "map[200:6 504:3]" {
		t.Errorf("with one of three servers hung the statuses are %s, want 6 of 200 and 3 of 504", got)
	}
	web[2].signal(syscall.SIGCONT)
	b.awaitServer("asks", web[2].address, "ready again", ready)
	for range 6 {
		w.name(b.listeners["connects"])
		w.name(b.listeners["asks"])
	}
}

// TestNoServerLeft: with every server gone http is answered 503 and tcp closed,
// both at once.
func TestNoServerLeft(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	web, db := w.nginxes("one"), w.redises("one")
	b := w.balance(underLoad(web, db))
	web[0].kill()
	db[0].kill()
	b.awaitServer("web", web[0].address, "not ready", notReady)
	b.awaitServer("db", db[0].address, "not ready", notReady)
	started := time.Now()
	if a := w.get(b.listeners["web"], "/"); a.status != 503 {
		t.Errorf("http without a server: %+v, want status 503", a)
	}
	if n, err := w.dial(b.listeners["db"]).Read(make([]byte, 1)); err == nil {
		t.Errorf("tcp without a server: %d bytes, want the connection closed", n)
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("being refused took %s", took)
	}
}
