package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// tabTo presses Tab until what is focused is wanted, and looks whether one sees the focus
// on the way.
func (p *page) tabTo(what, script string, args ...any) {
	p.Helper()
	for range 60 {
		p.do(chromedp.KeyEvent("\t"))
		if outline := eval[string](p, `getComputedStyle(document.activeElement).outlineStyle`); outline == "none" && !eval[bool](p, "document.activeElement === document.body") {
			p.Errorf("one cannot see the focus on %s", eval[string](p, `document.activeElement.outerHTML.slice(0, 200)`))
		}
		if eval[bool](p, "Boolean("+script+")", args...) {
			return
		}
	}
	p.Fatalf("Tab does not come to %s", what)
}

// Everything can be done by the keyboard, and one sees where one is.
func TestDashboardByKeyboard(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	one, spare := w.gate("one"), w.gate("spare")
	b := w.balance(twoPools([]string{one.address}, []string{w.echoServer()}))
	p := w.browse(b.admin, desktop)
	p.until("the servers are shown", `document.querySelectorAll("tr.server").length === 2`)

	p.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
	p.tabTo("the filter", `document.activeElement.id === "filter"`)
	p.do(chromedp.KeyEvent("one"))
	p.until("the filter works", `document.querySelectorAll("tr.server").length === 0`)
	p.do(chromedp.KeyEvent("\b\b\b"))
	p.until("all are back", `document.querySelectorAll("tr.server").length === 2`)
	p.tabTo("the server", `document.activeElement.closest("tr") === %s`, row(one.address))
	p.do(chromedp.KeyEvent(" "))
	p.tabTo("its drain button", `document.activeElement.dataset.do === "drain"`)
	p.do(chromedp.KeyEvent("\r"))
	b.awaitServer("web", one.address, "draining", func(s server) bool { return s.Draining })
	p.until("the focus stays where the button was", `document.activeElement.dataset.do === "undrain"`)
	p.do(chromedp.KeyEvent("\r"))
	b.awaitServer("web", one.address, "ready", ready)
	p.until("it is announced", `document.querySelector("#announced").textContent.includes("%s of pool web is ready.")`, one.address)

	p.tabTo("a chart", `document.activeElement.getAttribute("role") === "slider"`)
	p.do(chromedp.KeyEvent("\u0302")) // the left arrow
	p.until("it says the past", `document.activeElement.getAttribute("aria-valuetext").startsWith("1 s ago: a second")`)

	eval[any](p, `document.querySelector("#pools-title").focus()`)
	p.tabTo("the upload", `document.activeElement.dataset.do === "upload"`)
	p.do(chromedp.KeyEvent("\r"))
	p.until("the dialog has the focus", `document.activeElement.id === "address"`)
	p.do(chromedp.KeyEvent(spare.address + "\r"))
	b.awaitServer("web", spare.address, "ready", ready)
	p.until("the focus comes back", `document.activeElement.dataset.do === "upload"`)
	p.until("the new server is shown", `%s`, row(spare.address))
	p.tabTo("the new server", `document.activeElement.closest("tr") === %s`, row(spare.address))
	p.do(chromedp.KeyEvent("\r"))
	p.tabTo("its delete button", `document.activeElement.dataset.do === "delete"`)
	p.do(chromedp.KeyEvent("\r"))
	p.until("somebody is asked", `document.querySelector("#delete[open]")`)
	p.do(chromedp.KeyEvent("\u001b"))
	p.until("Escape closes", `!document.querySelector("dialog[open]")`)
	p.do(chromedp.KeyEvent("\r"))
	p.tabTo("the confirmation", `document.activeElement.matches("#delete [type=submit]")`)
	p.do(chromedp.KeyEvent("\r"))
	b.awaitGone("web", spare.address)
	p.until("its row is gone", `!%s`, row(spare.address))
	p.until("the focus is not lost with it", `document.activeElement !== document.body && document.activeElement.checkVisibility()`)
}

// Pools and the balancer drain by the keyboard too; the focus comes back to where it was, or to what
// took the place of that.
func TestDashboardDrainsByKeyboard(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	b := w.balance(twoPools([]string{w.gate("one").address, w.gate("two").address}, []string{w.echoServer()}))
	p := w.browse(b.admin, desktop)
	p.until("the servers are shown", `document.querySelectorAll("tr.server").length === 3`)
	focus := func(button, what string) {
		t.Helper()
		p.until("the focus is on "+what, `document.activeElement.matches(%q)`, fmt.Sprintf(button, what))
	}
	asked := func() {
		t.Helper()
		p.do(chromedp.KeyEvent("\r"))
		p.until("somebody is asked", `document.querySelector("#drain[open]") && document.activeElement.value === "cancel"`)
	}
	confirmed := func() {
		t.Helper()
		asked()
		p.tabTo("the confirmation", `document.activeElement.matches("#drain [type=submit]")`)
		p.do(chromedp.KeyEvent("\r"))
		p.until("it closes", `!document.querySelector("dialog[open]")`)
	}

	p.tabTo("the balancer's drain button", `document.activeElement.matches(%q)`, fmt.Sprintf(ofWhole, "drain"))
	asked()
	p.do(chromedp.KeyEvent("\r"))
	p.until("what has the focus cancels", `!document.querySelector("dialog[open]")`)
	focus(ofWhole, "drain")
	b.wantHealth(200, "ok")
	asked()
	p.tabTo("the time", `document.activeElement.id === "time"`)
	eval[any](p, `document.activeElement.select()`)
	p.do(chromedp.KeyEvent("1h\r"))
	p.until("Enter confirms", `!document.querySelector("dialog[open]")`)
	focus(ofWhole, "undrain")
	if now := b.drains("GET", "/v1/status"); !now.Draining || time.Until(*now.Deadline) < 50*time.Minute {
		t.Errorf("drained by keyboard: %+v", now)
	}
	p.tabTo("the deadline", `document.activeElement.dataset.do === "deadline"`)
	asked()
	p.do(chromedp.KeyEvent("\u001b"))
	p.until("Escape closes", `!document.querySelector("dialog[open]")`)
	focus(ofWhole, "deadline")
	b.drains("POST", "/undrain")
	focus(ofWhole, "drain") // what had it is gone

	p.tabTo("the pool's drain button", `document.activeElement.matches(%q)`, fmt.Sprintf(ofWeb, "drain"))
	confirmed()
	p.drainingIn(b, "web", 2)
	focus(ofWeb, "undrain")
	asked()
	p.do(chromedp.KeyEvent("\u001b"))
	p.until("Escape closes", `!document.querySelector("dialog[open]")`)
	focus(ofWeb, "undrain")
	asked()
	if status, text, err := b.ask("POST", "/v1/pools/web/undrain", ""); err != nil || status != 200 {
		t.Fatal(status, text, err)
	}
	p.offers(ofWeb, "drain", "upload")
	p.do(chromedp.KeyEvent("\u001b"))
	focus(ofWeb, "drain") // what the dialog was opened with is gone
	p.tabTo("the upload", `document.activeElement.matches(%q)`, fmt.Sprintf(ofWeb, "upload"))
	b.drains("POST", "/drain")
	p.offers(ofWhole, "undrain", "deadline")
	focus(ofWeb, "upload") // what stays keeps it
}
