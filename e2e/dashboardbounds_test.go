package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A token is asked for, kept in the tab alone, and a reader changes nothing.
func TestDashboardAsksForAToken(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	const secret, reader = "the-secret-of-the-operators", "the-secret-of-the-readers"
	config := twoPools([]string{w.gate("one").address}, []string{w.echoServer()})
	tokens := []object{}
	for name, text := range map[string]string{"ops": secret, "eyes": reader} {
		path := filepath.Join(w.TempDir(), name)
		w.must(os.WriteFile(path, []byte(text), 0o600))
		tokens = append(tokens, object{"name": name, "file": path, "access": map[string]string{"ops": "write", "eyes": "read"}[name]})
	}
	config["admin"] = object{"address": "127.0.0.1:0", "tokens": tokens}
	b := w.startBalancer(raceBinary, config)
	p := w.browse(b.admin, desktop)
	p.excuse("401")
	p.until("a token is asked for", `document.querySelector("#login").checkVisibility() && document.activeElement.id === "token"`)
	if shown := eval[bool](p, `document.querySelector("#board").checkVisibility()`); shown {
		t.Error("something is shown to a stranger")
	}
	p.legible()
	p.do(chromedp.KeyEvent("a wrong one\r"))
	p.until("it is no token", `document.querySelector("#login .problem").textContent.includes("nothing but")`)
	p.do(chromedp.KeyEvent("a-wrong-one-that-is-long-enough\r"))
	p.until("it is wrong", `document.querySelector("#login .problem").textContent.includes("not one of those")`)
	p.do(chromedp.KeyEvent(secret + "\r"))
	p.until("it is let in", `document.querySelectorAll("tr.server").length === 2 && document.querySelector("[data-do=upload]").checkVisibility()`)
	if kept := eval[string](p, `JSON.stringify(localStorage) + document.cookie + location.href + document.documentElement.outerHTML`); strings.Contains(kept, secret) {
		t.Errorf("the token is in %s", kept)
	}
	p.do(chromedp.Reload())
	p.until("it is still let in", `document.querySelectorAll("tr.server").length === 2`)
	p.do(chromedp.Click("#sign-out"))
	p.until("it is asked again", `document.querySelector("#login").checkVisibility() && !document.querySelector("#board").checkVisibility()`)
	if kept := eval[string](p, `JSON.stringify(sessionStorage)`); kept != "{}" {
		t.Errorf("kept is %s", kept)
	}
	p.do(chromedp.KeyEvent(reader + "\r"))
	p.until("a reader is let in", `document.querySelectorAll("tr.server").length === 2 && document.querySelector("#board").checkVisibility()`)
	eval[any](p, `document.querySelectorAll(".toggle").forEach((b) => b.click())`)
	if buttons := eval[int](p, `[...document.querySelectorAll("[data-do]")].filter((b) => b.checkVisibility()).length`); buttons != 0 {
		t.Errorf("a reader has %d buttons", buttons)
	}
	for _, path := range []string{"/drain?timeout=1h", "/v1/pools/web/drain"} {
		w.curl(nil, "-f", "-X", "POST", "-H", "Authorization: Bearer "+secret, "http://"+b.admin+path)
	}
	p.until("a reader sees drains", `document.querySelector("#left").innerText.startsWith("0 connections are open") && document.querySelector("#standing").innerText.includes("Draining until") && document.querySelector(".pool .state").innerText.trim() === "Draining" && !document.querySelector(".pool .left").hidden`)
	if buttons := eval[int](p, `[...document.querySelectorAll("[data-do]")].filter((b) => b.checkVisibility()).length`); buttons != 0 {
		t.Errorf("a reader has %d buttons while all drains", buttons)
	}
	for i := range 10 {
		w.curl(nil, "-H", fmt.Sprint("Authorization: Bearer the-guess-of-somebody-else-", i), "http://"+b.admin+"/servers")
	}
	p.excuse("429")
	b.rewrite(with(config, object{"admin": with(config["admin"].(object), object{"hosts": []string{"lb.example"}})}))
	b.signal(syscall.SIGHUP) // which ends the stream
	p.until("others have tried too much", `document.querySelector("#lost").innerText.includes("too many wrong tokens")`)
	if kept := eval[string](p, `JSON.stringify(sessionStorage)`); !strings.Contains(kept, reader) {
		t.Errorf("kept is %s", kept)
	}
	p.do(chromedp.Click("#sign-out"))
	p.until("a stranger sees nothing", `document.querySelector("header").innerText.trim() === "fulcrum"`)
}

// Text that comes from servers is shown as it is, and never becomes a part of the page.
func TestDashboardShowsHostileText(t *testing.T) {
	w := newBrowserWorld(t, 60*time.Second)
	const attack = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`
	hostile := w.tcpServer(func(conn *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			io.WriteString(conn, "HTTP/1.1 "+attack+"\r\n\r\n")
		}
	})
	config := twoPools([]string{hostile}, []string{w.echoServer()})
	// The first check finds it, however long that takes.
	config["pools"].([]object)[0]["health"] = object{"interval": "30s", "timeout": "30s", "rise": 1, "fall": 1, "path": "/"}
	b := w.startBalancer(raceBinary, config)
	p := w.browse(b.admin, desktop)
	p.until("the reason is shown", `%s?.querySelector(".reason").textContent.includes("<img")`, row(hostile))
	p.until("in an event too", `document.querySelector("#events").innerText.includes("<img")`)
	eval[any](p, `%s.querySelector(".toggle").click()`, row(hostile))
	p.do(chromedp.SetValue("#filter", attack))
	eval[any](p, `document.querySelector("#filter").dispatchEvent(new Event("input"))`)
	if n := eval[int](p, `document.querySelectorAll("img, body script, iframe").length`); n != 0 {
		t.Errorf("%d elements were made of text", n)
	}
	if title := eval[string](p, `document.title`); strings.Contains(title, "taken") {
		t.Errorf("the title is %q", title)
	}
}

// What is old is shown as old, and the page comes back by itself.
func TestDashboardOutlastsTheBalancer(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	config := twoPools([]string{w.gate("one").address}, []string{w.echoServer()})
	config["admin"] = object{"address": w.freeAddress()}
	b := w.balance(config)
	p := w.browse(b.admin, desktop)
	p.excuse("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE", "503")
	p.until("the servers are shown", `document.querySelectorAll("tr.server").length === 2`)
	b.signal(syscall.SIGTERM)
	w.await("it has ended", b.ended)
	p.until("it is said", `document.querySelector("#lost").checkVisibility() && document.querySelector("#lost").innerText.includes("is lost. What is shown is of ")`)
	if stale := eval[bool](p, `document.body.classList.contains("stale") && document.querySelectorAll("tr.server").length === 2`); !stale {
		t.Error("what is old is not shown as old")
	}
	delete(config, "shutdown_timeout")
	config["pools"].([]object)[1]["servers"] = []string{w.echoServer(), w.echoServer()}
	again := w.startBalancer(raceBinary, config)
	p.until("it is back", `!document.querySelector("#lost").checkVisibility() && !document.body.classList.contains("stale")`)
	p.until("with the servers that there are now", `document.querySelectorAll("tr.server").length === 3`)
	status, _, err := again.ask("POST", "/drain?timeout=1m", "")
	if err != nil || status != 200 {
		t.Fatal(status, err)
	}
	p.until("a drain is shown", `/Draining until \d\d:\d\d:\d\d/.test(document.querySelector("#standing").innerText)`)
}

// Of very many servers the page shows some, the others when they are asked for.
func TestDashboardOfManyServers(t *testing.T) {
	w := newBrowserWorld(t, 90*time.Second)
	var all []string
	for i := range 1200 {
		all = append(all, fmt.Sprintf("127.2.%d.%d:80", i/250, i%250+1))
	}
	config := twoPools(all, []string{w.echoServer()})
	config["pools"].([]object)[0]["health"] = false
	b := w.startBalancer(raceBinary, config)
	p := w.browse(b.admin, desktop)
	p.until("some are shown", `document.querySelectorAll(".pool:first-child tr.server").length === 50 && document.querySelector(".pool .state").innerText.includes("1200 of 1200 ready")`)
	p.do(chromedp.Click(".pool:first-child .more"))
	p.until("more are shown", `document.querySelectorAll(".pool:first-child tr.server").length === 100`)
	status, text, err := b.ask("POST", "/v1/pools/web/servers/127.2.4.200:80/drain", "")
	if err != nil || status != 200 {
		t.Fatal(status, text, err)
	}
	p.until("one that is not ready comes first", `document.querySelector("tr.server .name").textContent === "127.2.4.200:80"`)
	p.do(chromedp.SendKeys("#filter", "127.2.4.19"))
	p.until("they are filtered", `document.querySelectorAll("tr.server").length === 11 && document.querySelectorAll(".pool").length === 1`)
	want := []string{"127.2.4.19:80"}
	for i := range 10 {
		want = append(want, fmt.Sprintf("127.2.4.19%d:80", i))
	}
	var got []string
	w.must(json.Unmarshal([]byte(eval[string](p, `JSON.stringify([...document.querySelectorAll("tr.server .name")].map((n) => n.textContent))`)), &got))
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("shown are %q", got)
	}
}

// How long something has been so is told by the balancer's clock, whatever this one says.
func TestDashboardGoesByTheBalancersClock(t *testing.T) {
	w := newBrowserWorld(t, 60*time.Second)
	b := w.startBalancer(raceBinary, twoPools([]string{w.gate("one").address}, []string{w.echoServer()}))
	p := w.browse(b.admin, desktop)
	p.until("the servers are shown", `document.querySelectorAll("tr.server").length === 2`)
	eval[any](p, `(() => {
		const now = Date.now;
		Date.now = () => now() + 3 * 3600_000;
		document.querySelector("#about").textContent = "";
	})()`)
	p.until("it is drawn again", `document.querySelector("#about").textContent !== ""`)
	p.until("how long", `[...document.querySelectorAll(".since")].every((s) => /^ for \d+ (s|min)$/.test(s.textContent))`)
}
