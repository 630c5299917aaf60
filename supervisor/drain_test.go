package supervisor

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
)

// bothProtocols is a tcp and an http listener with a pool each.
const bothProtocols = `{
  "listeners": [
    {"name": "echo", "protocol": "tcp",  "address": "127.0.0.1:0", "pool": "echo"},
    {"name": "web",  "protocol": "http", "address": "127.0.0.1:0", "pool": "web"}],
  "pools": [{"name": "echo", "servers": [%q]}, {"name": "web", "servers": [%q]}],
  "admin": {"address": "127.0.0.1:0"},
  "shutdown_timeout": "1m"}`

// drain drains until a time.
func (w *world) drain(timeout time.Duration) admin.DrainAnswer {
	w.t.Helper()
	answer, err := w.Drain(w.t.Context(), admin.DrainRequest{Timeout: &timeout})
	if err != nil || !answer.Draining || answer.Deadline == nil {
		w.t.Fatalf("drain: %+v, error %v", answer, err)
	}
	return answer
}

func (w *world) undrain() {
	w.t.Helper()
	answer, err := w.Undrain(w.t.Context(), false)
	if err != nil || answer.Draining || answer.Deadline != nil {
		w.t.Fatalf("undrain: %+v, error %v", answer, err)
	}
}

// remains waits until so much is in flight.
func (w *world) remains(connections, requests int64) {
	w.t.Helper()
	var last *admin.Remaining
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		last = w.Status().Remaining
		if last != nil && last.Connections == connections && last.Requests == requests && (last.OldestSeconds > 0) == (connections > 0) {
			return
		}
	}
	w.t.Fatalf("%+v remains, want %d connections and %d requests", last, connections, requests)
}

// asks sends a request for / and returns whether the answer is the last one.
func (c *talk) asks() (last bool) {
	c.t.Helper()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	answer, err := http.ReadResponse(c.lines, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != 200 {
		c.t.Fatalf("status %d, error %v", answer.StatusCode, err)
	}
	return answer.Close
}

func (w *world) wantReady(ok bool, why string) {
	w.t.Helper()
	if is, reason := w.Ready(); is != ok || reason != why {
		w.t.Errorf("ready %t, %q, want %t, %q", is, reason, ok, why)
	}
}

// While the balancer drains it says so, serves who comes, and nothing in flight is
// disturbed; an end of that leaves no trace.
func TestDrainOfTheBalancer(t *testing.T) {
	a, b := echo(t, "a"), startWeb(t, "b")
	w := start(t, bothProtocols, a, b.address)
	relayed := dial(t, w.address("echo"))
	relayed.say("before")
	answer, kept := w.held(b), dial(t, w.address("web"))
	if kept.asks() {
		t.Error("closed before the drain")
	}
	w.remains(3, 1)
	w.wantReady(true, "")

	if drained := w.drain(time.Hour); time.Until(*drained.Deadline) < 59*time.Minute {
		t.Errorf("the deadline is %v", drained.Deadline)
	}
	w.wantReady(false, "draining")
	if status, body, err := get(t, w.AdminAddress(), "/healthz"); status != 503 || !strings.Contains(body, `"draining"`) || err != nil {
		t.Errorf("healthz: %d %s, error %v", status, body, err)
	}
	relayed.say("during")
	late := dial(t, w.address("echo"))
	late.say("late")
	if !kept.asks() || !dial(t, w.address("web")).asks() {
		t.Error("a connection is kept while draining")
	}
	kept.wantClosed()
	w.remains(3, 1)
	close(b.release)
	if rest, err := io.ReadAll(answer.Body); string(rest) != "ended b" || err != nil {
		t.Errorf("got %q, error %v", rest, err)
	}
	w.remains(2, 0)

	w.undrain()
	w.wantReady(true, "")
	relayed.say("after")
	kept = dial(t, w.address("web"))
	for range 2 {
		if kept.asks() {
			t.Error("closed after the drain")
		}
	}
	w.undrain() // again
	relayed.Close()
	late.Close()
	kept.Close()
	w.remains(0, 0)
}

// At the deadline what is left is closed, and whoever comes then is served as before.
func TestDrainEndsAtItsDeadline(t *testing.T) {
	a, b := echo(t, "a"), startWeb(t, "b")
	w := start(t, bothProtocols, a, b.address)
	relayed, answer := dial(t, w.address("echo")), w.held(b)
	relayed.say("before")
	w.drain(50 * time.Millisecond)
	relayed.wantClosed()
	if rest, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("an answer cut off looks complete: %q", rest)
	}
	w.remains(0, 0)
	w.wantReady(false, "draining")
	late := dial(t, w.address("echo"))
	late.say("late")
	if !dial(t, w.address("web")).asks() {
		t.Error("kept while draining")
	}
	w.drain(0)
	late.wantClosed()
}

// A drain that is given again has the new deadline, be it later or sooner; one that has
// ended closes nothing.
func TestDrainAgain(t *testing.T) {
	a := echo(t, "a")
	w := start(t, bothProtocols, a, a)
	c := dial(t, w.address("echo"))
	c.say("before")
	const short = 50 * time.Millisecond
	passed := func(deadline *time.Time) {
		t.Helper()
		eventually(t, "the deadline that was is over", func() bool { return time.Since(*deadline) > short })
		c.say("still here")
	}
	first := w.drain(short)
	w.drain(time.Hour)
	passed(first.Deadline)
	second := w.drain(short)
	w.undrain()
	passed(second.Deadline)
	w.drain(time.Hour)
	w.drain(0)
	c.wantClosed()
}

// Without a timeout it is the config's; a trial changes nothing.
func TestDrainDefaultsAndTrials(t *testing.T) {
	a := echo(t, "a")
	w := start(t, bothProtocols, a, a)
	c := dial(t, w.address("echo"))
	c.say("before")
	near := func(what string, got admin.DrainState, want time.Duration) {
		t.Helper()
		if left := time.Until(*got.Deadline); left > want || left < want-patience {
			t.Errorf("%s: %v are left, want %v", what, left, want)
		}
	}
	tried, err := w.Drain(t.Context(), admin.DrainRequest{DryRun: true})
	if err != nil || !tried.Draining || !tried.DryRun || tried.Remaining.Connections != 1 {
		t.Errorf("tried: %+v, error %v", tried, err)
	}
	near("tried", tried.DrainState, time.Minute)
	w.wantReady(true, "")
	if status := w.Status(); status.Draining || status.Deadline != nil {
		t.Errorf("a trial left %+v", status)
	}
	begun, err := w.Drain(t.Context(), admin.DrainRequest{})
	if err != nil || begun.DryRun {
		t.Errorf("begun: %+v, error %v", begun, err)
	}
	near("begun", begun.DrainState, time.Minute)
	near("status", w.Status().DrainState, time.Minute)
	if tried, err := w.Undrain(t.Context(), true); err != nil || tried.Draining || !tried.DryRun {
		t.Errorf("tried: %+v, error %v", tried, err)
	}
	w.wantReady(false, "draining")
	c.say("after")
}

// A reload does not end a drain: new listeners drain too, and those that are gone are
// closed with the rest.
func TestReloadDuringADrain(t *testing.T) {
	a, b := echo(t, "a"), startWeb(t, "b")
	w := start(t, bothProtocols, a, b.address)
	gone := dial(t, w.address("echo"))
	gone.say("before")
	w.drain(time.Hour)
	w.reload(`{"listeners": [
	    {"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"},
	    {"name": "new", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"}],
	  "pools": [{"name": "web", "servers": [%q]}], "shutdown_timeout": "1m"}`, b.address)
	w.wantReady(false, "draining")
	for _, name := range []string{"web", "new"} {
		if !dial(t, w.address(name)).asks() {
			t.Errorf("listener %s does not drain", name)
		}
	}
	gone.say("still here")
	w.remains(1, 0)
	w.undrain()
	for _, name := range []string{"web", "new"} {
		if dial(t, w.address(name)).asks() {
			t.Errorf("listener %s still drains", name)
		}
	}
	gone.say("still here")
	w.drain(0)
	gone.wantClosed()
}

// A stop takes the place of a drain, which then cannot begin or end.
func TestStopDuringADrain(t *testing.T) {
	a, b := echo(t, "a"), startWeb(t, "b")
	w := start(t, bothProtocols, a, b.address)
	answer := w.held(b)
	w.drain(time.Hour)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.stop(time.Minute)
	}()
	eventually(t, "stopping", func() bool { _, reason := w.Ready(); return reason == "stopping" })
	_, err := w.Drain(t.Context(), admin.DrainRequest{})
	wantRefusal(t, err, 409, "the balancer is stopping")
	_, err = w.Undrain(t.Context(), false)
	wantRefusal(t, err, 409, "the balancer is stopping")
	close(b.release)
	if rest, err := io.ReadAll(answer.Body); string(rest) != "ended b" || err != nil {
		t.Errorf("got %q, error %v", rest, err)
	}
	wait(t, stopped, "stopped")
	if status := w.Status(); status.Remaining != nil {
		t.Errorf("%+v is known of loops that have ended", status.Remaining)
	}
}

// What remains is not known while a loop hangs, and nobody waits for it for long.
func TestDrainWithALoopThatHangs(t *testing.T) {
	a := echo(t, "a")
	w := start(t, bothProtocols, a, a)
	hangs, goOn := make(chan struct{}), make(chan struct{})
	w.current.Load().loops[0].Post(func() { close(hangs); <-goOn })
	<-hangs
	if answer := w.drain(time.Hour); answer.Remaining != nil {
		t.Errorf("got %+v", answer.Remaining)
	}
	close(goOn)
	w.remains(0, 0)
}

func TestDrainIsTold(t *testing.T) {
	a := echo(t, "a")
	w := start(t, bothProtocols, a, a)
	told := make(chan time.Time, 10)
	w.OnStatus(func(_ *config.Config, deadline time.Time) { told <- deadline })
	for range 2 {
		want := *w.drain(time.Hour).Deadline
		if got := <-told; !got.Equal(want) {
			t.Errorf("told %v, want %v", got, want)
		}
	}
	w.undrain()
	if got := <-told; !got.IsZero() {
		t.Errorf("told %v of the end", got)
	}
	w.undrain()
	if len(told) != 0 {
		t.Error("told of nothing")
	}
}
