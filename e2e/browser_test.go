package e2e_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is the one browser of all tests, which the first that needs it starts.
// closeChromium ends it.
var chromium = sync.OnceValues(startChromium)

var closeChromium = func() {}

func startChromium() (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("%w; scripts/test installs what the tests need", err)
	}
	profile, err := os.MkdirTemp("", "fulcrum-chromium-")
	if err != nil {
		return nil, err
	}
	// Nothing of the browser's own leaves this machine.
	allocator, end := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	ctx, cancel := chromedp.NewContext(allocator)
	closeChromium = func() {
		cancel()
		end()
		os.RemoveAll(profile)
	}
	return ctx, chromedp.Do(ctx)
}

// oneTab is held while a test has the browser: two cores have enough to do with one.
var oneTab sync.Mutex

// newBrowserWorld is newWorld for a test that browses.
func newBrowserWorld(t *testing.T, limit time.Duration) *world {
	t.Helper()
	t.Parallel()
	oneTab.Lock()
	t.Cleanup(oneTab.Unlock)
	return worldFor(t, limit)
}

// page is the dashboard of a balancer in a tab that shares nothing with others.
type page struct {
	*world
	tab   context.Context
	limit context.Context // of tab, until the test's deadline
	admin string

	mu         sync.Mutex
	complaints []string // of the browser; guarded by mu
	excused    []string // what they may have in them; guarded by mu
}

// A window is how big a tab is, and what its reader likes.
type window struct {
	width, height int64
	scheme        string // "light" or "dark"
}

var desktop = window{1280, 900, "light"}

// browse opens the page, and looks at the end of the test whether anything went wrong
// in it, or something was asked of anybody but the balancer.
func (w *world) browse(admin string, as window) *page {
	w.Helper()
	browser, err := chromium()
	w.must(err)
	p := &page{world: w, admin: admin}
	tab, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.listen))
	w.Cleanup(func() {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, text := range p.complaints {
			if !p.isExcused(text) {
				w.Errorf("the browser says: %s", text)
			}
		}
	})
	w.must(chromedp.Do(tab))
	p.tab = tab
	limit, cancelLimit := context.WithDeadline(tab, w.deadline())
	w.Cleanup(cancelLimit)
	p.limit = limit
	call(p, log.Enable, cdp.Empty{})
	call(p, network.Enable, network.EnableParams{})
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: as.scheme}},
	})
	p.do(chromedp.EmulateViewport(as.width, as.height), chromedp.Navigate("http://"+admin+"/"))
	return p
}

// listen notes what is wrong. It is called by the browser's reader.
func (p *page) listen(event any) {
	complaint := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = fmt.Sprint(e.ExceptionDetails.Text, " ", e.ExceptionDetails.Exception)
	case *log.EventEntryAdded:
		complaint = fmt.Sprint(e.Entry.Level, " ", e.Entry.Text, " ", e.Entry.URL)
	case *network.EventRequestWillBeSent:
		if at, err := url.Parse(e.Request.URL); err != nil || at.Host != p.admin && at.String() != "about:blank" {
			complaint = "a request for " + e.Request.URL
		}
	}
	if complaint != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.complaints = append(p.complaints, complaint)
	}
}

// excuse says what complaints of the browser may have in them.
func (p *page) excuse(parts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.excused = append(p.excused, parts...)
}

func (p *page) isExcused(text string) bool {
	for _, part := range p.excused {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

func call[P, R any](p *page, command cdp.Command[P, R], params P) R {
	p.Helper()
	result, err := chromedp.Call(p.limit, command, params)
	p.must(err)
	return result
}

// do has the browser do something.
func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	if err := chromedp.Do(p.limit, steps...); err != nil {
		p.Fatalf("the browser: %v", err)
	}
}

// eval returns the value of a script.
func eval[T any](p *page, script string, args ...any) T {
	p.Helper()
	value, err := chromedp.Run(p.limit, chromedp.Evaluate[T](fmt.Sprintf(script, args...)))
	if err != nil {
		p.Fatalf("%s: %v", fmt.Sprintf(script, args...), err)
	}
	return value
}

// until waits until a script returns true.
func (p *page) until(what, script string, args ...any) {
	p.Helper()
	script = fmt.Sprintf(script, args...)
	for started := time.Now(); ; {
		holds, err := chromedp.Run(p.limit, chromedp.Evaluate[bool]("Boolean("+script+")"))
		if err == nil && holds {
			return
		}
		if p.ctx.Err() != nil {
			p.Fatalf("after %s still not: %s (%s, %v); the page says: %s", time.Since(started).Round(time.Millisecond), what, script, err, p.text())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// text returns what the page says, for a message.
func (p *page) text() string {
	text, err := chromedp.Run(p.tab, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}
