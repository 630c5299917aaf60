package e2e_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// twoPools is a balancer with an http and a tcp pool that check their servers often.
func twoPools(web, echo []string) object {
	health := object{"interval": "200ms", "rise": 1, "fall": 1}
	return object{
		"listeners": []object{
			{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"},
			{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "echo"},
		},
		"pools": []object{
			{"name": "web", "servers": web, "health": object{"interval": "200ms", "rise": 1, "fall": 1, "path": "/"}},
			{"name": "echo", "servers": echo, "health": health},
		},
	}
}

// row is the script of a server's row.
func row(address string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("tr.server")].find((r) => r.querySelector(".name").textContent === %q)`, address)
}

// press clicks on a button of a server, whose row it opens.
func (p *page) press(address, what string) {
	p.Helper()
	eval[any](p, `(() => {
		const toggle = %s.querySelector(".toggle");
		if (toggle.ariaExpanded !== "true") toggle.click();
	})()`, row(address))
	eval[any](p, `%s.nextSibling.querySelector("[data-do=%s]").click()`, row(address), what)
}

// displayed is what the tables say of a server.
type displayed struct{ Name, State, Active, Rate, Errors, Reason string }

func (p *page) servers() map[string]displayed {
	p.Helper()
	all := make(map[string]displayed)
	for _, s := range eval[[]displayed](p, `[...document.querySelectorAll("tr.server")].map((r) => ({
		Name: r.querySelector(".name").textContent, State: r.querySelector(".state span").textContent,
		Active: r.querySelector("td.active").textContent, Rate: r.querySelector("td.rate").textContent,
		Errors: r.querySelector("td.errors").textContent, Reason: r.querySelector(".reason").textContent}))`) {
		all[s.Name] = s
	}
	return all
}

// What the page shows is what the API says, and it moves.
func TestDashboardShowsWhatIs(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	held, dead := w.gate("held"), w.closedPort()
	other := w.gate("other")
	echo := w.echoServer()
	b := w.startBalancer(raceBinary, twoPools([]string{held.address, other.address, dead}, []string{echo}))
	b.awaitServer("web", held.address, "ready", ready)
	b.awaitServer("web", other.address, "ready", ready)
	b.awaitServer("echo", echo, "ready", ready)
	p := w.browse(b.admin, desktop)
	p.until("all servers are shown", `document.querySelectorAll("tr.server").length === 4`)

	later := w.getLater(b.listeners["web"], "/held")
	conn := w.dial(b.listeners["echo"])
	io.WriteString(conn, "hello\n")
	var at string
	w.eventually("the held request is at a server", func() bool {
		for _, s := range b.pools()["web"] {
			if s.Active == 1 {
				at = s.Address
			}
		}
		return at != ""
	})
	p.until("it is shown there", `%s.querySelector("td.active").textContent === "1"`, row(at))
	p.until("and the connection", `%s.querySelector("td.active").textContent === "1"`, row(echo))
	p.until("both at the top", `document.querySelector("#about").textContent.startsWith("2 connections")`)

	page := p.servers()
	for name, servers := range b.pools() {
		for _, s := range servers {
			state := map[bool]string{true: "Ready", false: "Not healthy"}[s.Ready]
			if got := page[s.Address]; got.State != state || got.Active != fmt.Sprint(s.Active) {
				t.Errorf("pool %s: the page shows %+v of %+v", name, got, s)
			}
		}
	}
	if got := page[dead].Reason; got != "connection refused" {
		t.Errorf("the reason is %q", got)
	}
	if got := eval[string](p, `document.querySelector(".pool .state").innerText.trim()`); got != "2 of 3 ready" {
		t.Errorf("the pool: %q", got)
	}
	if title := eval[string](p, "document.title"); title != "1 not ready · fulcrum" {
		t.Errorf("the title is %q", title)
	}

	if before := eval[float64](p, `parseFloat(document.querySelector("#listeners td.rate").textContent)`); before > 3 {
		t.Errorf("the rate is %v before the load", before)
	}
	l := w.load("load", b.listeners["web"], 2, keepAlive)
	p.until("the rate goes up", `/k$|^\d\d/.test(document.querySelector("#listeners td.rate").textContent)`)
	p.until("first bytes take their time", `/\d (µs|ms)/.test(document.querySelector("#listeners td.p99").textContent)`)
	p.until("the chart is drawn", `document.querySelector("#overview path.line").getAttribute("d").length > 20 && %s.querySelector(".spark path.line").getAttribute("d").length > 20`, row(at))
	l.stop()
	p.until("the rate goes down", `document.querySelector("#listeners td.rate").textContent === "0"`)
	held.open()
	other.open()
	<-later
	p.until("nothing is in flight there", `%s.querySelector("td.active").textContent === "0"`, row(at))

	p.until("events are shown", `document.querySelector("#events").innerText.includes("connection refused")`)
	w.delete(b, "web", dead)
	p.until("an event comes", `/Gone\s+web %s/.test(document.querySelector("#events").innerText)`, dead)
	p.until("the server is gone", `!%s`, row(dead))
	p.until("the title is quiet", `document.title === "fulcrum"`)
}

func (w *world) delete(b *balancer, pool, address string) {
	w.Helper()
	b.delete(pool, address)
	b.awaitGone(pool, address)
}

// Each button does what it says.
func TestDashboardButtons(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	one, two, spare, echo := w.gate("one"), w.gate("two"), w.gate("spare"), w.echoServer()
	b := w.balance(twoPools([]string{one.address, two.address}, []string{echo}))
	p := w.browse(b.admin, desktop)
	p.until("the servers are shown", `document.querySelectorAll("tr.server").length === 3`)

	p.press(one.address, "drain")
	b.awaitServer("web", one.address, "draining", func(s server) bool { return s.Draining })
	p.until("it is said", `document.querySelector("#said").textContent === "%s drains."`, one.address)
	p.until("it is shown", `%s.querySelector(".state").innerText.trim() === "Draining"`, row(one.address))
	p.press(one.address, "undrain")
	b.awaitServer("web", one.address, "ready", ready)
	p.until("it is ready again", `%s.querySelector(".state").innerText.trim() === "Ready"`, row(one.address))

	p.press(one.address, "edit")
	if got := eval[string](p, `document.querySelector("#upload[open] h2").textContent`); got != "Change "+one.address {
		t.Errorf("the dialog is for %q", got)
	}
	p.do(chromedp.SetValue("#weight", "7"), chromedp.Click("#upload [type=submit]"))
	b.awaitServer("web", one.address, "weight 7", func(s server) bool { return s.Weight == 7 && s.Ready })
	p.until("it closes", `!document.querySelector("dialog[open]")`)

	upload := func(address string) {
		p.Helper()
		p.do(chromedp.Click(".pool:first-child [data-do=upload]"), chromedp.SetValue("#address", address), chromedp.Click("#upload [type=submit]"))
	}
	p.excuse("400", "412")
	upload("nonsense")
	p.until("the mistake is said", `document.querySelector("#upload .problem").checkVisibility() && document.querySelector("#upload .problem").textContent.includes("nonsense")`)
	p.do(chromedp.Click("#upload [value=cancel]"))
	upload(one.address)
	p.until("what is there is not uploaded again", `document.querySelector("#upload .problem").checkVisibility()`)
	p.do(chromedp.Click("#upload [value=cancel]"))
	upload(spare.address)
	b.awaitServer("web", spare.address, "ready", ready)
	p.until("it is shown", `%s?.querySelector(".state").innerText.trim() === "Ready"`, row(spare.address))

	p.press(two.address, "delete")
	p.until("somebody is asked", `document.querySelector("#delete[open]").innerText.includes(%q) && document.activeElement.value === "cancel"`, two.address)
	p.do(chromedp.Click("#delete [value=cancel]"))
	p.until("it closes", `!document.querySelector("dialog[open]")`)
	if _, there := b.server("web", two.address); !there {
		t.Error("a deletion that was not confirmed was made")
	}
	p.press(two.address, "delete")
	p.do(chromedp.Click("#delete [type=submit]"))
	b.awaitGone("web", two.address)
	p.until("it is gone", `!%s`, row(two.address))

	// One that holds a server can still change their mind, and then not wait.
	later := w.getLater(b.listeners["web"], "/held")
	var at string
	w.eventually("a request is at a server", func() bool {
		for _, s := range b.pools()["web"] {
			if s.Active == 1 {
				at = s.Address
			}
		}
		return at != ""
	})
	p.press(at, "delete")
	p.do(chromedp.Click("#delete [type=submit]"))
	p.until("it is being deleted", `%s.querySelector(".state").innerText.trim() === "Deleting"`, row(at))
	p.press(at, "keep")
	b.awaitServer("web", at, "kept", func(s server) bool { return !s.Draining })
	p.until("it is shown as kept", `%s.querySelector(".state").innerText.trim() === "Ready"`, row(at))
	p.press(at, "delete")
	p.do(chromedp.Click("#force"), chromedp.Click("#delete [type=submit]"))
	b.awaitGone("web", at)
	if a := <-later; a.err == nil && a.status == 200 {
		t.Errorf("what was in flight was answered: %+v", a)
	}
}

// On a phone nothing is cut off; in both schemes everything can be read.
func TestDashboardOnAPhone(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	one, dead := w.gate("one"), w.closedPort()
	long := "a-host-with-a-very-long-name.in-a-deep.subdomain.of-some-other-name.localhost:8080"
	b := w.startBalancer(raceBinary, twoPools([]string{one.address, dead, long}, []string{w.echoServer()}))
	b.awaitServer("web", one.address, "ready", ready)
	for _, as := range []window{{360, 740, "light"}, {360, 740, "dark"}, {800, 600, "dark"}, desktop} {
		p := w.browse(b.admin, as)
		p.until("the servers are shown", `document.querySelectorAll("tr.server").length === 4 && document.querySelectorAll("#events li").length > 0`)
		fits := func(what string) {
			t.Helper()
			if wide := eval[int64](p, `document.documentElement.scrollWidth`); wide > as.width {
				t.Errorf("%v, %s: the page is %d wide", as, what, wide)
			}
			if cut := eval[[]string](p, `[...document.querySelectorAll("tr:not(.detail) th, tr:not(.detail) td, .legend, .card header")].filter((c) => c.offsetWidth && c.scrollWidth > c.clientWidth + 1).map((c) => c.outerHTML.slice(0, 300))`); len(cut) > 0 {
				t.Errorf("%v, %s: cut off is %s", as, what, cut)
			}
		}
		fits("at first")
		eval[any](p, `document.querySelectorAll(".toggle").forEach((b) => b.click())`)
		fits("opened")
		p.legible()
		p.press(one.address, "delete")
		p.until("a dialog", `document.querySelector("#delete[open]").getBoundingClientRect().right <= innerWidth`)
		p.legible()
		p.do(chromedp.Click("#delete [value=cancel]"))
		p.fitsDraining(b, dead, fits)
		dark := eval[bool](p, `(([r, g, b]) => r + g + b < 200)(getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number))`)
		if dark != (as.scheme == "dark") {
			t.Errorf("%v: dark is %t", as, dark)
		}
	}
}

// fitsDraining looks at the page while the balancer and a server of the pool web drain,
// and at what it asks then.
func (p *page) fitsDraining(b *balancer, server string, fits func(what string)) {
	p.Helper()
	for _, path := range []string{"/drain?timeout=1h", "/v1/pools/web/servers/" + server + "/drain"} {
		if status, text, err := b.ask("POST", path, ""); err != nil || status != 200 {
			p.Fatal(status, text, err)
		}
	}
	p.until("it drains", `document.querySelector("#left").checkVisibility() && document.querySelector(".pool .left").checkVisibility()`)
	fits("draining")
	p.legible()
	for button, what := range map[string]string{ofWhole: "deadline", ofWeb: "undrain"} {
		p.asks(button, what)
		p.until("the dialog fits", `((d) => d.right <= innerWidth && d.bottom <= innerHeight)(document.querySelector("#drain").getBoundingClientRect())`)
		p.legible()
		p.cancels()
	}
	for _, path := range []string{"/undrain", "/v1/pools/web/undrain"} {
		if status, text, err := b.ask("POST", path, ""); err != nil || status != 200 {
			p.Fatal(status, text, err)
		}
	}
	p.until("nothing drains", `document.querySelector("#left").hidden && document.querySelector(".pool .left").hidden`)
}

// legible expects a contrast of 4.5 between all text and what is behind it, as WCAG 2.2
// asks for in 1.4.3.
func (p *page) legible() {
	p.Helper()
	for _, bad := range eval[[]string](p, `(() => {
		const rgb = (text) => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 || n[3] === 1 ? n : null; };
		const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
		const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (c.startsWith("rgb") && rgb(c)) return rgb(c); } return [255, 255, 255]; };
		const bad = new Set();
		const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		while (walk.nextNode()) {
			const e = walk.currentNode.parentElement;
			if (!walk.currentNode.textContent.trim() || !e.checkVisibility({visibilityProperty: true}) || e.closest(".hidden, .scale, .said")) continue;
			const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
			const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
			if (contrast < 4.5) bad.add(contrast.toFixed(2) + " of " + e.outerHTML.slice(0, 150));
		}
		return [...bad];
	})()`) {
		p.Errorf("the contrast is %s", bad)
	}
}
