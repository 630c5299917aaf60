package e2e_test

import (
	"flag"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var screenshots = flag.Bool("screenshots", false, "write docs/dashboard-light.png and docs/dashboard-dark.png, which takes six minutes")

// TestDashboardScreenshots takes the pictures of README.md: the demo under load, with
// five minutes behind it in which a server was away for a while.
func TestDashboardScreenshots(t *testing.T) {
	if !*screenshots {
		t.Skip("only with -screenshots")
	}
	w := newBrowserWorld(t, 8*time.Minute)
	demo := w.start(w.command(plainBinary, "demo", "--load", "--admin", w.freeAddress()))
	admin, web := "", ""
	w.eventually("the demo runs", func() bool {
		found := regexp.MustCompile(`dashboard: http://(\S+)/`).FindStringSubmatch(demo.stdout.String())
		away := regexp.MustCompile(`http://(\S+)/quit`).FindStringSubmatch(demo.stdout.String())
		if found == nil || away == nil {
			return false
		}
		admin, web = found[1], away[1]
		return true
	})
	time.Sleep(200 * time.Second)
	w.curl(nil, "-X", "POST", "http://"+web+"/quit?seconds=25")
	time.Sleep(110 * time.Second)
	w.curl(nil, "-X", "PUT", "http://"+admin+"/v1/pools/web/servers/"+w.closedPort())
	for _, as := range []window{{1280, 1150, "light"}, {1280, 1150, "dark"}} {
		p := w.browse(admin, as)
		p.until("the servers are shown", `document.querySelectorAll("tr.server").length === 7`)
		eval[any](p, `document.querySelectorAll("tr.server .toggle")[2].click()`)
		p.do(chromedp.Sleep(2 * time.Second))
		png, err := chromedp.Run(p.limit, chromedp.CaptureScreenshot())
		w.must(err)
		w.must(os.WriteFile("../docs/dashboard-"+as.scheme+".png", png, 0o644))
	}
}
