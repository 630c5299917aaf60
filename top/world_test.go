package top

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"fulcrum/admin"
	"fulcrum/events"
)

var update = flag.Bool("update", false, "write the screens of testdata anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

var (
	start = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	plain = Look{Unicode: true}
)

// A world is a model that is told what a balancer would tell, and is shown what the
// operator would press.
type world struct {
	*testing.T
	m       *model
	at      time.Time // by the balancer's clock
	changes []admin.ServerChange
	told    []admin.LiveServer
}

func newWorld(t *testing.T, width, height int) *world {
	w := &world{T: t, at: start}
	w.m = newModel(plain, func(c admin.ServerChange) { w.changes = append(w.changes, c) })
	w.m.now = start
	w.tell(tea.WindowSizeMsg{Width: width, Height: height})
	w.told = []admin.LiveServer{
		server1("web", "10.0.0.1:8080", 3*time.Hour, admin.Sample{Rate: 812.4, Active: 31, P50MS: 0.82, P99MS: 4.1, Received: 90e3, Sent: 7.1e6}),
		server1("web", "10.0.0.2:8080", 50*time.Hour, admin.Sample{Rate: 790, Active: 12, P50MS: 0.79, P99MS: 3.9, Errors: 0.3}),
		server1("web", "10.0.0.3:8080", 12*time.Second, admin.Sample{}),
		server1("db", "db-1.internal.example:5432", 26*time.Minute, admin.Sample{Active: 140, Rate: 3, P50MS: 12, P99MS: 1850}),
		server1("db", "unix:/run/db.sock", 0, admin.Sample{}),
	}
	w.told[2].State, w.told[2].Reason = admin.StateUnhealthy, "GET /healthz: status 503, want 200"
	w.told[3].State, w.told[3].MaxConnections, w.told[3].Source = admin.StateDraining, 500, "uploaded"
	w.told[4].State, w.told[4].Reason = admin.StateUnchecked, ""
	return w
}

func server1(pool, address string, lasts time.Duration, s admin.Sample) admin.LiveServer {
	return admin.LiveServer{LiveName: admin.LiveName{Pool: pool, Address: address}, State: admin.StateReady, Reason: "status 200",
		Since: start.Add(-lasts), Source: "config", Weight: 1, Sample: s}
}

func (w *world) tell(messages ...tea.Msg) {
	for _, m := range messages {
		w.m.Update(m)
	}
}

// whole is a message with all but the servers; the pools say how many of them are ready.
func (w *world) whole() admin.Live {
	live := admin.Live{
		At: w.at,
		Balancer: &admin.LiveBalancer{Version: "1.4.0", Started: start.Add(-77 * time.Hour), Ready: true, Connections: 2410,
			Sample: admin.Sample{Rate: 1605, Errors: 0.3, P50MS: 0.8, P99MS: 4.1}},
		Listeners: []admin.LiveListener{
			{Name: "public", Protocol: "http", Address: "0.0.0.0:80", Pool: "web", Routes: 2, Connections: 2270, Sample: admin.Sample{Rate: 1602, Active: 43, Errors: 0.3, P50MS: 0.8, P99MS: 4.1}},
			{Name: "postgres", Protocol: "tcp", Address: "0.0.0.0:5432", Pool: "db", Connections: 140, Sample: admin.Sample{Rate: 3, Active: 140, P50MS: 12, P99MS: 1850}},
		},
		Pools: []admin.LivePool{
			{Name: "web", Algorithm: "least_connections", Sample: admin.Sample{Rate: 1602, Active: 43, Errors: 0.3, P50MS: 0.8, P99MS: 4.1, Received: 90e3, Sent: 7.1e6}},
			{Name: "db", Algorithm: "round_robin", Queued: 7, Sample: admin.Sample{Rate: 3, Active: 140, P50MS: 12, P99MS: 1850}},
		},
	}
	for i := range live.Pools {
		for _, s := range w.told {
			if p := &live.Pools[i]; s.Pool == p.Name {
				p.Servers++
				if s.State == admin.StateReady {
					p.Ready++
				}
			}
		}
	}
	return live
}

// stream tells the first messages of a stream, with a past that rises to what is.
func (w *world) stream() {
	first := w.whole()
	first.Balancer.History = rising(first.Balancer.Rate)
	for i := range first.Pools {
		first.Pools[i].History = rising(first.Pools[i].Rate)
		first.Listeners[i].History = rising(first.Pools[i].Rate)
	}
	servers := admin.Live{At: w.at}
	for _, s := range w.told {
		s.History = rising(s.Rate)
		servers.Servers = append(servers.Servers, s)
	}
	w.tell(begun{}, first, servers)
}

// second tells of one more second, and of the servers named.
func (w *world) second(servers ...admin.LiveServer) {
	w.at = w.at.Add(time.Second)
	live := w.whole()
	live.Servers = servers
	w.tell(tick(w.at), live)
}

func rising(to float32) *admin.History {
	h := &admin.History{Step: 1, Length: 300, Rate: make([]float32, 300)}
	for i := range h.Rate {
		h.Rate[i] = to * float32(i+1) / 300
	}
	return h
}

// happen tells of what has happened.
func (w *world) happen() {
	w.tell(
		happened{ID: 1, At: start.Add(-77 * time.Hour), Kind: events.BalancerStarted, Count: 1},
		happened{ID: 2, At: start.Add(-26 * time.Minute), Kind: events.ServerDrained, Pool: "db", Server: "db-1.internal.example:5432", Count: 1, Was: "ready", Since: start.Add(-50 * time.Minute)},
		happened{Kind: events.Missed, Count: 12},
		happened{ID: 3, At: start.Add(-12 * time.Second), Kind: events.ServerNotReady, Pool: "web", Server: "10.0.0.3:8080", Reason: "GET /healthz: status 503, want 200", Was: "ready", Since: start.Add(-3 * time.Hour), Count: 1},
		happened{ID: 4, At: start.Add(-5 * time.Second), Kind: events.ConfigReloaded, Details: []string{"pool web: health.interval 5s, was 2s", "listener b added"}, Count: 3},
	)
}

// press gives keys to the model, each by its name, and returns whether it quits.
func (w *world) press(keys ...string) (quits bool) {
	named := map[string]tea.KeyType{"enter": tea.KeyEnter, "esc": tea.KeyEsc, "up": tea.KeyUp, "down": tea.KeyDown, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown,
		"home": tea.KeyHome, "end": tea.KeyEnd, "backspace": tea.KeyBackspace, "ctrl+c": tea.KeyCtrlC, "ctrl+u": tea.KeyCtrlU}
	for _, key := range keys {
		m := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(key)}
		if of, ok := named[key]; ok {
			m = tea.KeyMsg{Type: of}
		}
		_, cmd := w.m.Update(m)
		quits = quits || cmd != nil
	}
	return quits
}

// has fails unless the screen has all of the texts.
func (w *world) has(texts ...string) {
	w.Helper()
	screen := w.m.View()
	for _, text := range texts {
		if !strings.Contains(screen, text) {
			w.Errorf("no %q on the screen:\n%s", text, screen)
		}
	}
}

func (w *world) hasNot(texts ...string) {
	w.Helper()
	screen := w.m.View()
	for _, text := range texts {
		if strings.Contains(screen, text) {
			w.Errorf("%q is on the screen:\n%s", text, screen)
		}
	}
}

// golden compares the screen with that in testdata.
func (w *world) golden(name string) {
	w.Helper()
	compare(w.T, name, w.m.View()+"\n")
}

func compare(t *testing.T, name, screen string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(screen), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if screen != string(want) {
		t.Errorf("%s is not as it was; it is now:\n%s\nand was:\n%s", name, screen, want)
	}
}

// fits fails if the screen is larger than the terminal.
func fits(t *testing.T, screen string, width, height int) {
	t.Helper()
	lines := strings.Split(screen, "\n")
	if len(lines) > height {
		t.Fatalf("%d lines on a screen of %d:\n%s", len(lines), height, screen)
	}
	for _, line := range lines {
		if n := ansi.StringWidth(line); n > width {
			t.Fatalf("%d columns on a screen of %d: %q", n, width, line)
		}
	}
}

var errAway = errors.New("no admin listener answers at 127.0.0.1:9900: connection refused")
