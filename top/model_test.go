package top

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"fulcrum/admin"
	"fulcrum/events"
)

// What there is to see at several sizes.
func TestScreens(t *testing.T) {
	for _, size := range []struct{ width, height int }{{80, 24}, {120, 30}, {160, 20}, {60, 16}, {40, 12}, {24, 6}} {
		t.Run(fmt.Sprintf("%dx%d", size.width, size.height), func(t *testing.T) {
			w := newWorld(t, size.width, size.height)
			w.stream()
			w.happen()
			w.press("j", "j", "j")
			w.golden(t.Name()[len("TestScreens/"):])
		})
	}
}

// Without colours no more is sent than text; with them the text is the same. ASCII
// is enough.
func TestLooks(t *testing.T) {
	w := newWorld(t, 80, 24)
	w.stream()
	w.happen()
	if screen := w.m.View(); strings.Contains(screen, "\x1b") {
		t.Errorf("without colour: %q", screen)
	}
	w.m.look.Unicode = false
	w.golden("ascii")
	for _, r := range w.m.View() {
		if r > 126 {
			t.Fatalf("%q is not ASCII", r)
		}
	}
	w.m.look = Look{Colour: true, Unicode: true}
	w.golden("colours")
}

func TestLookOf(t *testing.T) {
	for _, test := range []struct {
		environment string
		want        Look
	}{
		{"TERM=xterm LANG=en_US.UTF-8", Look{true, true}},
		{"TERM=xterm LANG=de_DE.utf8 NO_COLOR=1", Look{false, true}},
		{"TERM=xterm LANG=C.UTF-8 LC_ALL=C", Look{true, false}},
		{"TERM=xterm", Look{true, false}},
		{"TERM=dumb LANG=C.UTF-8", Look{}},
		{"LANG=C.UTF-8", Look{}},
	} {
		getenv := func(name string) string {
			for field := range strings.FieldsSeq(test.environment) {
				if value, ok := strings.CutPrefix(field, name+"="); ok {
					return value
				}
			}
			return ""
		}
		if got := LookOf(getenv); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.environment, got, test.want)
		}
	}
}

// Nothing is drawn beyond the screen, whatever its size and whatever is done.
func TestEverySize(t *testing.T) {
	w := newWorld(t, 80, 24)
	w.stream()
	w.happen()
	for _, keys := range [][]string{{}, {"?"}, {"x", "/", "o"}, {"enter", "G", "d"}, {"n"}} {
		w.press(keys...)
		for width := 1; width < 170; width += 7 {
			for height := 1; height < 40; height += 1 + height/12 {
				w.tell(tea.WindowSizeMsg{Width: width, Height: height})
				fits(t, w.m.View(), width, height)
			}
		}
	}
	w.tell(tea.WindowSizeMsg{})
	fits(t, w.m.View(), 169, 39) // a terminal that does not know its size changes nothing
}

// The cursor stays on its server while others come, go and are sorted, and on the
// screen.
func TestCursor(t *testing.T) {
	w := newWorld(t, 80, 13)
	w.has("connecting", "? not known yet")
	w.stream()
	w.has("live", ">public")
	w.press("j", "down", "jj")
	w.has("> 10.0.0.2:8080", "10.0.0.2:8080 in web: ready for 2d: status 200; weight 1")
	w.press("sssss") // by the rate: it is the second then
	w.has("> 10.0.0.2:8080", "sorted by rate/s")
	w.second(server1("web", "10.0.0.4:8080", 0, admin.Sample{Rate: 9999}))
	w.has("> 10.0.0.2:8080")
	for range 2 {
		w.press("end")
		w.has("> unix:/run/db.sock")
		w.hasNot("public")
		w.press("home")
		w.has(">public")
		w.press("pgdown", "pgdown", "pgdown", "pgdown")
		w.has("> unix:/run/db.sock")
		w.press("pgup", "pgup", "pgup", "pgup", "pgup")
	}
	w.has(">public")
	w.press("G", "k")
	w.has("> db-1.internal.ex…")
	w.at = w.at.Add(time.Second)
	w.tell(admin.Live{At: w.at, Gone: []admin.LiveName{{Pool: "db", Address: "db-1.internal.example:5432"}}})
	w.hasNot("db-1.internal")
	w.has(">")
}

func TestSorting(t *testing.T) {
	w := newWorld(t, 160, 40)
	w.stream()
	order := func() (servers string) {
		for _, r := range w.m.rows {
			if r.kind == aServer && r.name == "web" {
				servers += r.server[len("10.0.0."):][:1]
			}
		}
		return servers
	}
	for _, want := range []string{"123", "123", "312", "312", "123", "123", "213", "123", "123", "123"} {
		if got := order(); got != want {
			t.Errorf("sorted by %d: %s, want %s", w.m.sorted, got, want)
		}
		w.press("s")
	}
	if w.m.sorted != 0 {
		t.Errorf("sorted by %d after all columns", w.m.sorted)
	}
	w.press("esc")
	w.hasNot("sorted")
}

func TestFilter(t *testing.T) {
	w := newWorld(t, 80, 24)
	w.stream()
	w.press("/", "50", "x", "backspace", "3")
	w.has("filter: 503_")
	w.has("10.0.0.3:8080") // for its reason
	w.hasNot("10.0.0.1:8080", "db-1", "postgres", "public")
	w.press("ctrl+u", "DB", "enter", "j")
	w.has("db-1", "unix:", `filter "DB"`)
	w.hasNot("10.0.0")
	w.press("/", "nobody", "enter", "d")
	w.has("choose a server or a pool to drain")
	w.hasNot("db-1")
	w.press("esc")
	w.has("10.0.0.1", "db-1", "public")
	w.press("/", strings.Repeat("é", 100))
	if w.m.filter != strings.Repeat("é", maxFilter) {
		t.Errorf("the filter is %q", w.m.filter)
	}
	w.press("esc")
	w.has("q quit")
}

// What is drained is what was asked about, even if the cursor is elsewhere by then, and
// only after a yes of its own.
func TestDrain(t *testing.T) {
	w := newWorld(t, 80, 24)
	w.stream()
	w.press("d")
	w.has("choose a server or a pool to drain")
	w.press("jjj", "d")
	w.has("y/n: drain 10.0.0.1:8080 in pool web?")
	w.at = w.at.Add(time.Second)
	w.tell(admin.Live{At: w.at, Gone: []admin.LiveName{{Pool: "web", Address: "10.0.0.1:8080"}}})
	w.press("x", "enter")
	w.has("y/n: drain 10.0.0.1:8080 in pool web?")
	w.press("y")
	w.has("asking to drain 10.0.0.1:8080 in pool web ...")
	w.tell(changed{"could not drain 10.0.0.1:8080 in pool web", errors.New("it does not exist (404 Not Found)")})
	w.has("could not drain 10.0.0.1:8080 in pool web: it does not exist (404 Not Found)")
	w.press("home", "jj", "u")
	w.has("y/n: undrain all servers of pool web?")
	w.press("Y")
	w.press("G", "dy")
	w.has("y/n: drain unix:/run/db.sock in pool db?")
	w.press("n")
	w.has("nothing was changed")
	w.m.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("d"), Paste: true})
	w.hasNot("y/n:")
	want := []admin.ServerChange{{Action: admin.Drain, Pool: "web", Server: "10.0.0.1:8080"}, {Action: admin.Undrain, Pool: "web"}}
	if fmt.Sprint(w.changes) != fmt.Sprint(want) {
		t.Errorf("asked for %v, want %v", w.changes, want)
	}
}

// Who pauses sees what was, and then at once what is.
func TestPause(t *testing.T) {
	w := newWorld(t, 80, 24)
	w.stream()
	w.press("p")
	w.has("paused at 12:00:00", "p go on")
	w.told[0].State = admin.StateDraining
	w.second(w.told[0])
	w.tell(happened{ID: 9, At: w.at, Kind: events.ServerDrained, Pool: "web", Server: "10.0.0.1:8080"})
	w.has("10.0.0.1:8080     ● ready", "2/3 ready")
	w.hasNot("server drained")
	w.press("p")
	w.has("live", "10.0.0.1:8080     ◌ draining", "1/3 ready", "12:00:01 server drained  10.0.0.1:8080 in web")
}

// When the balancer goes away what was known stays, and is said to be old. The next
// one may have other servers.
func TestBalancerGoesAway(t *testing.T) {
	w := newWorld(t, 80, 24)
	w.stream()
	w.second()
	w.tell(lost{}, tick(w.at.Add(3*time.Second)))
	w.has("no connection for 3s", "the balancer has ended the stream; trying again", "10.0.0.3:8080")
	w.tell(begun{}, lost{errAway}, tick(w.at.Add(75*time.Second)))
	w.golden("away")
	w.told = w.told[1:]
	w.stream()
	w.has("live", "10.0.0.1:8080", "10.0.0.2:8080")
	w.second()
	w.hasNot("10.0.0.1:8080", "no connection", "trying again")
	w.has("10.0.0.2:8080")
}

// A balancer that hangs is not taken for one that is well, and how old what is shown is
// counts from the last that it has said.
func TestBalancerHangs(t *testing.T) {
	w := newWorld(t, 80, 24)
	w.stream()
	w.tell(tick(w.at.Add(3 * time.Second)))
	w.has("live")
	w.tell(tick(w.at.Add(5 * time.Second)))
	w.has("nothing for 5s")
	w.hasNot("live")
	w.tell(lost{errAway}, tick(w.at.Add(12*time.Second)))
	w.has("no connection for 12s")
	w.second()
	w.has("live")
}

func TestQuit(t *testing.T) {
	w := newWorld(t, 80, 24)
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"/", "q", "ctrl+c"}, {"esc", "jq"}} {
		if !w.press(keys...) {
			t.Errorf("%q do not quit", keys)
		}
	}
	w.press("esc", "?")
	w.golden("help")
	if w.press("q") {
		t.Error("q in the help quits")
	}
	refusal := errors.New("no token")
	if _, cmd := w.m.Update(refused{refusal}); cmd == nil || w.m.fatal != refusal {
		t.Errorf("after a refusal: %v", w.m.fatal)
	}
}

func TestBalancerAsAWhole(t *testing.T) {
	w := newWorld(t, 80, 24)
	live := w.whole()
	live.Balancer.Ready, live.Balancer.Reason = false, "pool db has no ready server"
	w.tell(begun{}, live)
	w.has("fulcrum ✗ not ready: pool db has no ready server  1.4.0, up 3d")
	live.Balancer.Draining = true
	w.tell(live)
	w.has("fulcrum ◌ draining", "2.4k connections  1.6k/s  0.3 errors/s  p50 0.80ms  p99 4.1ms")
}
