package top

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fulcrum/admin"
	"fulcrum/events"
)

// A past is a mean for every ten seconds, and stays as it was while nothing is told.
func TestPast(t *testing.T) {
	var p past
	for i := range 25 { // two steps and a half: 1, 2, 3
		p.add(start.Add(time.Duration(i)*time.Second), float32(1+i/10))
	}
	want := func(p past, most int, last ...float32) {
		t.Helper()
		got := p.columns(most)
		if len(got) > most || len(got) < len(last) {
			t.Fatalf("%d columns of %d", len(got), most)
		}
		for i, x := range last {
			if at := len(got) - len(last) + i; got[at] != x {
				t.Errorf("column %d of %v is %v, want %v", at, got, got[at], x)
			}
		}
	}
	want(p, 30, 0, 1, 2, 3)
	want(p, 29, 0, 0.5, 2.5) // two steps each
	want(p.until(start.Add(55*time.Second)), 30, 0, 1, 2, 3, 3, 3, 3)
	p.add(start, 100) // is known already
	p.add(start.Add(29*time.Second), 9)
	want(p, 30, 1, 2, 4)
	p.add(start.Add(3*time.Hour), 5)
	want(p, 30, 9, 9, 5)
	if p.most() != 9 {
		t.Errorf("the most is %v", p.most())
	}
	p.add(start, 7) // the clock was put back
	want(p, 30, 0, 7)
	want(p, 1, 7.0/30)
	want(p, 0)
}

func TestHistory(t *testing.T) {
	var p past
	h := &admin.History{Step: 2, Length: 5, Rate: []float32{1, 1, 1, 1, 6}}
	at := start.Add(9 * time.Second)
	p.take(at, &admin.Sample{Rate: 6}, h)
	if got := p.columns(30)[29]; got != 2 {
		t.Errorf("got %v, want the mean of the history", got)
	}
	for _, odd := range []*admin.History{nil, {}, {Step: -1, Rate: []float32{1}}, {Step: 1 << 40, Rate: make([]float32, 9)}} {
		var p past
		p.take(at, &admin.Sample{Rate: 6}, odd)
		if got := p.columns(30)[29]; got != 6 {
			t.Errorf("%+v: got %v, want the sample", odd, got)
		}
	}
}

// What others write is drawn as text, and never moves the cursor, sets a colour or
// turns a line around.
func TestHostileText(t *testing.T) {
	evil := "a\x1b[2J\x1b]0;title\a\r\n\x9b31m\u009b5m\u202egnp.exe\u200b\x00\xff" + strings.Repeat("long ", 10_000)
	w := newWorld(t, 120, 40)
	for i := range w.told {
		w.told[i].Reason = evil
		w.told[i].Pool += evil
		w.told[i].Address += evil
		w.told[i].Source = evil
	}
	w.told[0].State = evil
	live := w.whole()
	live.Balancer.Version, live.Balancer.Reason, live.Balancer.Ready = evil, evil, false
	for i := range live.Listeners {
		live.Listeners[i].Name, live.Listeners[i].Protocol, live.Listeners[i].Address, live.Listeners[i].Pool = evil, evil, evil, evil
		live.Pools[i].Name += evil
		live.Pools[i].Algorithm = evil
	}
	live.Servers = w.told
	w.tell(begun{}, live, happened(events.Event{Kind: events.Kind(evil), Pool: evil, Server: evil, Listener: evil, Reason: evil, Was: evil, Details: []string{evil}}))
	clean := func() {
		t.Helper()
		screen := w.m.View()
		fits(t, screen, 120, 40)
		for _, r := range strings.ReplaceAll(screen, "\n", "") {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0x200b || r == utf8.RuneError {
				t.Fatalf("%q is on the screen:\n%q", r, screen)
			}
		}
	}
	clean()
	w.press("j", "j", "j", "d")
	clean()
	w.press("y")
	clean()
	w.tell(changed{what: evil})
	clean()
	w.press("j")
	w.tell(lost{errAway})
	w.m.why = evil
	clean()
	w.press("/", evil)
	clean()
}

func FuzzLine(f *testing.F) {
	f.Add("plain", 10, true)
	f.Add("\x1b[31mred\u202e\u0301", 3, false)
	f.Add("全角文字とemoji👩‍👩‍👧", 7, true)
	f.Fuzz(func(t *testing.T, text string, width int, unicode bool) {
		width = max(width, 0) % 300
		l := Look{Unicode: unicode}
		for _, p := range []piece{{text: text}, {text: text, width: width/2 + 1}, {text: text, width: 400, right: true}} {
			got := l.line(width, "", piece{text: ">"}, p, piece{text: text})
			fits(t, got, width, 1)
			if strings.ContainsAny(got, "\x1b\r\t\x00\u009b\u202e") {
				t.Errorf("%q became %q", text, got)
			}
		}
	})
}

// A reader that is told of more and more servers, or events, keeps no more than some.
func TestBounds(t *testing.T) {
	k := newKnown()
	k.begin()
	m := admin.Live{At: start, Servers: make([]admin.LiveServer, maxServers+10)}
	for i := range m.Servers {
		m.Servers[i].Weight = i
		m.Servers[i].Address = strings.Repeat("x", i%7) + time.Duration(i).String()
	}
	k.apply(m)
	if len(k.order) != maxServers || len(k.servers) != maxServers {
		t.Errorf("%d servers are kept", len(k.order))
	}
	for i := range 3 * maxEvents {
		k.happen(events.Event{ID: int64(i)})
	}
	if len(k.events) != maxEvents || k.events[0].ID != 2*maxEvents {
		t.Errorf("%d events are kept, from %d on", len(k.events), k.events[0].ID)
	}
}

func TestNumbers(t *testing.T) {
	for x, want := range map[float32]string{
		-1: "0", 0: "0", 0.01: "<0.1", 0.25: "0.2", 1: "1", 3.14: "3.1", 9.96: "10", 99.6: "100", 999.4: "999", 999.6: "1.0k",
		1000: "1.0k", 12_345: "12k", 999_499: "999k", 999_600: "1.0M", 3e9: "3.0G", 1e18: "much", 3e38: "much",
	} {
		if got := amount(x); got != want {
			t.Errorf("amount(%v) is %q, want %q", x, got, want)
		}
	}
	for ms, want := range map[float32]string{
		0: "-", 0.001: "0.01ms", 0.5: "0.50ms", 0.996: "1.0ms", 9.96: "10ms", 999.6: "1.00s", 1234: "1.23s", 9996: "10s", 999_600: "16m", 3e38: "11574d",
	} {
		if got := milliseconds(ms); got != want {
			t.Errorf("milliseconds(%v) is %q, want %q", ms, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "0s", 59 * time.Second: "59s", time.Hour - 1: "59m", 47 * time.Hour: "47h", 1000 * time.Hour: "41d"} {
		if got := age(d); got != want {
			t.Errorf("age(%v) is %q, want %q", d, got, want)
		}
	}
}
