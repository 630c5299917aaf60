package e2e_test

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The buttons of the pool web, and those of the balancer.
const (
	ofWeb   = `.pool:first-child header [data-do=%s]`
	ofWhole = `.top [data-do=%s]`
)

// asks presses a button and waits for the dialog, which is to say all of that.
func (p *page) asks(button, what string, says ...string) {
	p.Helper()
	p.do(chromedp.Click(fmt.Sprintf(button, what)))
	p.until("somebody is asked, and nothing is chosen", `document.querySelector("#drain[open]") && document.activeElement.value === "cancel"`)
	for _, text := range says {
		p.until("it says "+text, `document.querySelector("#drain").innerText.includes(%q)`, text)
	}
}

// confirms presses the button of the dialog and waits until that has closed.
func (p *page) confirms() {
	p.Helper()
	p.do(chromedp.Click("#drain [type=submit]"))
	p.until("it closes", `!document.querySelector("dialog[open]")`)
}

func (p *page) cancels() {
	p.Helper()
	p.do(chromedp.Click("#drain [value=cancel]"))
	p.until("it closes", `!document.querySelector("dialog[open]")`)
}

// offers waits until these are the buttons, and no others.
func (p *page) offers(button string, want ...string) {
	p.Helper()
	p.until("the buttons are "+fmt.Sprint(want), `[...document.querySelectorAll(%q)].map((b) => b.dataset.do).join() === %q`,
		strings.Replace(button, "=%s", "", 1), strings.Join(want, ","))
}

// drainingIn waits until the API says that so many servers of a pool drain, and the
// page the same of each.
func (p *page) drainingIn(b *balancer, pool string, want int) {
	p.Helper()
	p.eventually(fmt.Sprintf("%d servers of pool %s drain", want, pool), func() bool {
		n := 0
		for _, s := range b.pools()[pool] {
			if s.Draining {
				n++
			}
		}
		return n == want
	})
	for _, s := range b.pools()[pool] {
		p.until(s.Address+" is shown so", `(%s.querySelector(".state").innerText.trim() === "Draining") === %t`, row(s.Address), s.Draining)
	}
}

// oldest is the script of how old the page says the oldest is, in seconds.
const oldest = `(([, n, unit]) => n * (unit === "s" ? 1 : 60))(document.querySelector(%q).innerText.match(/oldest for (?:at least )?(\d+) (s|min)\./))`

// notOlder expects that the page does not say that the oldest is older than that.
func (p *page) notOlder(where string, seconds float64) {
	p.Helper()
	script := fmt.Sprintf(oldest, where)
	if shown := eval[float64](p, "%s", script); shown > seconds {
		p.Errorf("the oldest is shown as %vs old, and is at most %vs", shown, seconds)
	}
}

// A pool drains and is undrained as a whole, after it was said what that means and what
// is in flight.
func TestDashboardDrainsAPool(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	one, two := w.gate("one"), w.gate("two")
	config := twoPools([]string{one.address, two.address}, []string{w.echoServer()})
	state := filepath.Join(w.TempDir(), "state.json")
	config["state"] = state
	b := w.balance(config)
	p := w.browse(b.admin, desktop)
	p.until("the servers are shown", `document.querySelectorAll("tr.server").length === 3`)
	p.offers(ofWeb, "drain", "upload")
	standing := func(state, says string) {
		t.Helper()
		p.until("the pool is shown as "+says, `((s) => s.dataset.state === %q && s.innerText.trim() === %q)(document.querySelector(".pool .state"))`, state, says)
	}
	left := func(says string) {
		t.Helper()
		p.until("what is left is said", `new RegExp(%q).test(document.querySelector(".pool .left").innerText)`, says)
	}

	began := time.Now()
	later := w.getLater(b.listeners["web"], "/held")
	p.asks(ofWeb, "drain", "Drain pool web?", "2 servers get no new work", "1 connection or request is active.")
	p.cancels()
	p.drainingIn(b, "web", 0)

	// What was agreed to is not what would happen any more.
	p.excuse("412", "409")
	p.asks(ofWeb, "drain", "2 servers get no new work")
	if status, text, err := b.ask("POST", "/v1/pools/web/servers/"+one.address+"/drain", ""); err != nil || status != 200 {
		t.Fatal(status, text, err)
	}
	standing("partly", "1 of 2 ready, 1 draining")
	p.offers(ofWeb, "drain", "undrain", "upload")
	p.do(chromedp.Click("#drain [type=submit]"))
	p.until("that is said", `document.querySelector("#drain .problem").checkVisibility() && document.querySelector("#drain").innerText.includes("1 server gets no new work") && document.querySelector("#drain .problem").textContent.includes("changed meanwhile")`)
	p.drainingIn(b, "web", 1)
	p.confirms()
	p.until("it is said", `document.querySelector("#said").textContent === "Pool web drains."`)
	p.drainingIn(b, "web", 2)
	p.drainingIn(b, "echo", 0)
	standing("draining", "Draining")
	p.offers(ofWeb, "undrain", "upload")
	left(`^What drains has 1 in flight, the oldest for at least \d+ (s|min)\.$`)
	p.notOlder(".pool .left", time.Since(began).Seconds())
	one.open()
	two.open()
	if a := <-later; a.err != nil || a.status != 200 {
		t.Errorf("what was in flight: %+v", a)
	}
	left(`^What drains has nothing in flight any more\.$`)
	if a := w.get(b.listeners["web"], "/"); a.status != 503 {
		t.Errorf("a pool that drains answers %+v", a)
	}

	p.asks(ofWeb, "undrain", "Undrain pool web?", "2 servers get work again", "0 connections or requests are active.")
	p.cancels()
	p.drainingIn(b, "web", 2)
	p.asks(ofWeb, "undrain")
	p.confirms()
	p.drainingIn(b, "web", 0)
	standing("ready", "2 of 2 ready")
	p.offers(ofWeb, "drain", "upload")
	if hidden := eval[bool](p, `document.querySelector(".pool .left").hidden`); !hidden {
		t.Error("something is said to be left")
	}
	b.awaitReady()

	// Where it cannot be recorded it is not made.
	w.must(os.WriteFile(state, []byte("{}"), 0o600))
	p.asks(ofWeb, "drain")
	p.do(chromedp.Click("#drain [type=submit]"))
	p.until("the refusal is said", `document.querySelector("#drain .problem").checkVisibility() && document.querySelector("#drain .problem").textContent.includes("the state file was edited")`)
	p.cancels()
	p.drainingIn(b, "web", 0)
}

// The balancer drains, is given another deadline, and is undrained.
func TestDashboardDrainsTheBalancer(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	one := w.gate("one")
	config := twoPools([]string{one.address}, []string{w.echoServer()})
	config["shutdown_timeout"] = "1m30s"
	b := w.balance(config)
	p := w.browse(b.admin, desktop)
	p.until("the servers are shown", `document.querySelectorAll("tr.server").length === 2`)
	p.offers(ofWhole, "drain")
	conn := w.dial(b.listeners["echo"])
	io.WriteString(conn, "hello\n")
	later := w.getLater(b.listeners["web"], "/held")
	receive(w, "a request is at the server", one.arrived)

	const inFlight = "2 connections are open, 1 request in flight, the oldest for "
	p.asks(ofWhole, "drain", "Drain the balancer?", "/healthz turns 503", "It can be undone", inFlight)
	if proposed := eval[string](p, `document.querySelector("#time").value`); proposed != "1m30s" {
		t.Errorf("the time proposed is %q", proposed)
	}
	p.cancels()
	if now := b.drains("GET", "/v1/status"); now.Draining {
		t.Errorf("a drain that was not confirmed was made: %+v", now)
	}
	p.excuse("400")
	p.asks(ofWhole, "drain")
	p.do(chromedp.SetValue("#time", "soon"), chromedp.Click("#drain [type=submit]"))
	p.until("the mistake is said", `document.querySelector("#drain .problem").checkVisibility() && document.querySelector("#drain .problem").textContent.includes("soon")`)

	// until waits until the page says of the drain what the API does.
	until := func(timeout time.Duration) {
		t.Helper()
		now := b.drains("GET", "/v1/status")
		if !now.Draining || time.Until(*now.Deadline) > timeout || time.Until(*now.Deadline) < timeout-2*time.Minute {
			t.Fatalf("with a timeout of %s: %+v", timeout, now)
		}
		b.wantHealth(503, "draining")
		p.until("the deadline is shown", `((s) => s.dataset.state === "draining" && s.innerText.trim() === "Draining until " + new Date(%q).toLocaleTimeString([], {hourCycle: "h23"}))(document.querySelector("#standing"))`,
			now.Deadline.Format(time.RFC3339Nano))
		p.offers(ofWhole, "undrain", "deadline")
		p.until("and what remains", `document.querySelector("#left").innerText.startsWith(%q)`,
			fmt.Sprintf("%d connections are open, %d request in flight, the oldest for ", now.Remaining.Connections, now.Remaining.Requests))
		p.until("and how old that is", `%s >= %f`, fmt.Sprintf(oldest, "#left"), math.Floor(now.Remaining.OldestSeconds))
		p.notOlder("#left", b.drains("GET", "/v1/status").Remaining.OldestSeconds)
	}
	p.do(chromedp.SetValue("#time", "1h"))
	p.confirms()
	p.until("it is said", `document.querySelector("#said").textContent.startsWith("The balancer drains until ")`)
	p.until("and announced", `document.querySelector("#announced").textContent === "The balancer drains."`)
	until(time.Hour)
	p.asks(ofWhole, "deadline", "Another deadline", inFlight)
	p.do(chromedp.SetValue("#time", "20m"))
	p.confirms()
	until(20 * time.Minute)

	undrained := func() {
		t.Helper()
		p.asks(ofWhole, "undrain", "Undrain the balancer?", "/healthz turns 200")
		p.cancels()
		b.wantHealth(503, "draining")
		p.asks(ofWhole, "undrain")
		p.confirms()
		b.wantHealth(200, "ok")
		if now := b.drains("GET", "/v1/status"); now.Draining {
			t.Errorf("after an undrain: %+v", now)
		}
		p.until("it is ready", `document.querySelector("#standing").innerText.trim() === "Ready" && document.querySelector("#left").hidden`)
		p.offers(ofWhole, "drain")
	}
	undrained()

	// At the deadline what is left is closed, and the page says so.
	p.asks(ofWhole, "drain")
	p.do(chromedp.SetValue("#time", "1s"))
	p.confirms()
	if a := receive(w, "the request ends", later); a.err == nil && a.status == 200 {
		t.Errorf("what was in flight was answered: %+v", a)
	}
	p.until("the end is shown", `/^0 connections are open, nothing in flight\. What was left at \d\d:\d\d:\d\d was closed/.test(document.querySelector("#left").innerText) && document.querySelector("#standing").innerText.trim() === "Draining"`)
	undrained()
}
