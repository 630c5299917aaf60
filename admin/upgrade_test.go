package admin

import (
	"context"
	"strings"
	"testing"
)

func (f *fake) Upgrade(context.Context) (pid int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "upgrade")
	return 4711, f.reload
}

// Who asks for it is told which process has taken over, or why none has.
func TestUpgrade(t *testing.T) {
	w := start(t)
	w.want("POST", "/upgrade", "", 200, `{"pid":4711}`)
	response, text := w.do("GET", "/upgrade", nil)
	wantRefused(t, response, text, 405, "POST")
	response, text = w.do("POST", "/upgrade?now=true", nil)
	wantRefused(t, response, text, 400, "now")
	response, text = w.do("POST", "/upgrade", strings.NewReader("{}"))
	wantRefused(t, response, text, 400)
	if n := len(w.fake.asked()); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	w.fake.reload = Conflict("the new process did not take over")
	w.want("POST", "/upgrade", "", 409, `{"error":"the new process did not take over"}`)
	if got := w.log.lines("balancer upgraded"); len(got) != 1 || !strings.Contains(got[0], "pid=4711") {
		t.Errorf("logged %q", got)
	}
}
