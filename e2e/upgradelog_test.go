package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// upgradingServer answers each request by an upgrade to a protocol that echoes.
func (w *world) upgradingServer() string {
	w.Helper()
	return w.tcpServer(func(conn *net.TCPConn) {
		in := bufio.NewReader(conn)
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(struct{ io.Writer }{conn}, in)
	})
}

// A guestbook is a client whose record is looked at.
type guestbook struct {
	net.Conn
	in     *bufio.Reader
	opened time.Time
	lived  time.Duration
	said   int64 // bytes, which came back
}

func (w *world) guestbook(address string) *guestbook {
	w.Helper()
	conn := w.dial(address)
	return &guestbook{Conn: conn, in: bufio.NewReader(conn)}
}

// say has a word echoed.
func (g *guestbook) say(w *world, number int) {
	w.Helper()
	said := word(number)
	w.must(ignore(g.Write(said)))
	got := make([]byte, len(said))
	w.must(ignore(io.ReadFull(g.in, got)))
	if string(got) != string(said) {
		w.Errorf("something else than word %d came back", number)
	}
	g.said += int64(len(said))
	if g.opened.IsZero() {
		g.opened = time.Now() // not before it is accepted, however busy the machine
	}
}

func (g *guestbook) leave() {
	g.lived = time.Since(g.opened)
	g.Close()
}

// wantLived expects a duration to be about what the client has seen of it. What it takes
// to move is not in it, and on a busy machine all takes longer.
func (g *guestbook) wantLived(w *world, ms *float64) {
	w.Helper()
	const more = 3 * time.Second
	if ms == nil {
		w.Errorf("a record without a duration")
	} else if d := time.Duration(*ms * float64(time.Millisecond)); d < g.lived/2 || d > g.lived+more {
		w.Errorf("a record says that the connection took %s, it took %s", d, g.lived)
	}
}

// TestAccessLogOverUpgrades: connections that move are recorded once, by the process in
// which they end, as if it had been one all the time; requests are, wherever they ended.
func TestAccessLogOverUpgrades(t *testing.T) {
	const guests, upgrades = 30, 5
	overEachIO(t, 90*time.Second, func(w *world, io string) {
		folder := w.TempDir()
		db, web, tunnels := filepath.Join(folder, "db.log"), filepath.Join(folder, "web.log"), filepath.Join(folder, "tunnels.log")
		l := w.found(raceBinary, w.fixed(object{
			"io":               io,
			"shutdown_timeout": "5m",
			"listeners": []object{
				{"name": "db", "protocol": "tcp", "pool": "main", "access_log": db},
				{"name": "web", "protocol": "http", "pool": "web", "access_log": web},
				{"name": "tunnels", "protocol": "http", "pool": "tunnels", "access_log": tunnels},
			},
			"pools": []object{
				{"name": "main", "servers": []string{w.echoServer()}, "health": false},
				{"name": "web", "servers": []string{w.bookOrigin()}, "health": false},
				{"name": "tunnels", "servers": []string{w.upgradingServer()}, "health": false},
			},
		}))
		var relayed, upgraded []*guestbook
		var kept []*keeper
		for i := range guests {
			relayed = append(relayed, w.guestbook(l.listeners["db"]))
			relayed[i].say(w, i)
			g := w.guestbook(l.listeners["tunnels"])
			upgraded = append(upgraded, g)
			if r := (&keeper{g, w, g.in}).send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: e2e\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", i)); r.StatusCode != 101 {
				w.Fatalf("status %d, want 101", r.StatusCode)
			}
			g.say(w, i)
			kept = append(kept, w.keeps(w.dial(l.listeners["web"])))
			kept[i].wantAnswer("/", "small")
		}
		load := w.load("beside", l.listeners["web"], 2, keepAlive)
		for n := range upgrades {
			l.upgraded()
			for i := range guests {
				if i%upgrades < n {
					continue // has left
				}
				relayed[i].say(w, n*guests+i)
				upgraded[i].say(w, n*guests+i)
				kept[i].wantAnswer("/", "small")
				if i%upgrades == n {
					relayed[i].leave()
					upgraded[i].leave()
				}
			}
		}
		load.stop()
		load.wantNoFailure()
		l.awaitHeir()
		for _, g := range relayed {
			r := w.awaitRecord(db, "db", g.LocalAddr())
			if *r.ToUpstream != g.said || *r.ToClient != g.said || *r.Tried != 1 || r.FirstByte == nil || r.Ended != "client_closed" {
				w.Errorf("the record of a relay of %d bytes each way is %s", g.said, asJSON(r))
			}
			g.wantLived(w, r.DurationMS)
		}
		byClient := map[string][]httpRecord{}
		w.eventually("each tunnel has a record", func() bool {
			clear(byClient)
			for _, r := range recordsAt[httpRecord](w, tunnels) {
				byClient[r.Client] = append(byClient[r.Client], r)
			}
			return len(byClient) >= guests
		})
		for i, g := range upgraded {
			all := byClient[g.LocalAddr().String()]
			if len(all) != 1 {
				w.Errorf("a tunnel has %d records", len(all))
				continue
			}
			r := all[0]
			if *r.Received != g.said || *r.Sent != g.said || *r.Status != 101 || r.Target != fmt.Sprint("/", i) || r.Ended != "upgraded" {
				w.Errorf("the record of a tunnel of %d bytes each way is %s", g.said, asJSON(r))
			}
			g.wantLived(w, r.DurationMS)
		}
		asked := load.ok.Load()
		for i := range guests {
			asked += int64(1 + i%upgrades + 1)
		}
		w.eventually("each request has a record", func() bool { return len(recordsAt[httpRecord](w, web)) >= int(asked) })
		if n := len(recordsAt[httpRecord](w, web)); n != int(asked) {
			w.Errorf("there are %d records of %d requests", n, asked)
		}
		l.listeners = map[string]string{"db": l.listeners["db"]}
		wantSums(w, l.balancer, db)
	})
}
