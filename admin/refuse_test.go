package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	w, changes := start(t), 0
	long := strings.Repeat("x", maxText+1)
	for _, c := range []struct {
		method, target, body string
		status               int
		says                 []string
	}{
		{"POST", "/upload_server", ``, 400, []string{"empty", `"server"`}},
		{"POST", "/upload_server", " \n\t", 400, []string{"empty"}},
		{"POST", "/upload_server", `{"server":"a:1",}`, 400, []string{"not valid JSON", "byte 17"}},
		{"POST", "/upload_server", "\n  {\"server\":a}", 400, []string{"not valid JSON", "byte 14"}},
		{"POST", "/upload_server", "\u00a0{\"server\":\"a:1\"}", 400, []string{"not valid JSON", "byte 1"}},
		{"POST", "/upload_server", "\n []", 400, []string{"an array"}},
		{"POST", "/upload_server", `{"server":"a:1"`, 400, []string{"not valid JSON"}},
		{"POST", "/upload_server", `{"server":"a:1"}{}`, 400, []string{"not valid JSON", "after top-level value"}},
		{"POST", "/upload_server", `{"server" "a:1"}`, 400, []string{"not valid JSON"}},
		{"POST", "/upload_server", `server=a:1&pool=web`, 400, []string{"not valid JSON", "byte 1"}},
		{"POST", "/upload_server", "{\"server\":\"a\xff:1\"}", 400, []string{"UTF-8"}},
		{"POST", "/upload_server", strings.Repeat("[", 60000), 400, []string{"not valid JSON"}},
		{"POST", "/upload_server", `[{"server":"a:1"}]`, 400, []string{"an array", "JSON object", "max_connections"}},
		{"POST", "/upload_server", `"a:1"`, 400, []string{`the string "a:1"`}},
		{"POST", "/upload_server", `null`, 400, []string{"the body is null"}},
		{"POST", "/upload_server", `{}`, 400, []string{`"server" is missing`}},
		{"POST", "/upload_server", `{"pool":"web"}`, 400, []string{`"server" is missing`}},
		{"POST", "/upload_server", `{"server":""}`, 400, []string{`"server" is ""`, "1 to 512"}},
		{"POST", "/upload_server", `{"server":"` + long + `"}`, 400, []string{`"server" is "xxx`, "1 to 512"}},
		{"POST", "/upload_server", `{"server":9003}`, 400, []string{`"server" is 9003`, "a string"}},
		{"POST", "/upload_server", `{"server":{"address":"a:1"}}`, 400, []string{`"server" is an object`, "a string"}},
		{"POST", "/upload_server", `{"server":null}`, 400, []string{`"server" is null`, "a string"}},
		{"POST", "/upload_server", `{"server":"a:1","pool":["web"]}`, 400, []string{`"pool" is an array`, "a string"}},
		{"POST", "/upload_server", `{"server":"a:1","weight":"2"}`, 400, []string{`"weight" is the string "2"`, "1 to 256"}},
		{"POST", "/upload_server", `{"server":"a:1","weight":0}`, 400, []string{`"weight" is 0`, "1 to 256"}},
		{"POST", "/upload_server", `{"server":"a:1","weight":257}`, 400, []string{`"weight" is 257`, "1 to 256"}},
		{"POST", "/upload_server", `{"server":"a:1","weight":1.5}`, 400, []string{`"weight" is 1.5`, "whole number"}},
		{"POST", "/upload_server", `{"server":"a:1","weight": 1e2}`, 400, []string{`"weight" is 1e2`, "whole number"}},
		{"POST", "/upload_server", `{"server":"a:1","weight":null}`, 400, []string{`"weight" is null`}},
		{"POST", "/upload_server", `{"server":"a:1","weight":1` + strings.Repeat("0", 9000) + `}`, 400, []string{"000…"}},
		{"POST", "/upload_server", `{"server":"a:1","max_connections":-1}`, 400, []string{`"max_connections" is -1`, "0 to"}},
		{"POST", "/upload_server", `{"server":"a:1","max_connections":4294967296}`, 400, []string{`"max_connections"`}},
		{"POST", "/upload_server", `{"server":"a:1","port":1}`, 400, []string{`"port"`, "pool, server, weight, max_connections"}},
		{"POST", "/upload_server", `{"Server":"a:1"}`, 400, []string{`"Server" is not known`}},
		{"POST", "/upload_server", `{"server":"a:1","force":true}`, 400, []string{`"force" is not known`}},
		{"POST", "/upload_server", `{"server":"a:1","s\u0065rver":"b:1"}`, 400, []string{`"server" is given twice`}},
		{"POST", "/upload_server?pool=web", `{"server":"a:1"}`, 400, []string{"query"}},

		{"DELETE", "/delete_server", ``, 400, []string{`"server" is missing`, "?server="}},
		{"DELETE", "/delete_server?pool=web", ``, 400, []string{`"server" is missing`}},
		{"DELETE", "/delete_server?server=", ``, 400, []string{`"server" is ""`}},
		{"DELETE", "/delete_server?server=%ff", ``, 400, []string{`"server"`, "UTF-8"}},
		{"DELETE", "/delete_server?server=%zz", ``, 400, []string{"query is not valid"}},
		{"DELETE", "/delete_server?server=a:1;force=true", ``, 400, []string{"query is not valid"}},
		{"DELETE", "/delete_server?server=a:1&server=a:1", ``, 400, []string{`"server" is given 2 times`}},
		{"DELETE", "/delete_server?server=a:1&weight=2", ``, 400, []string{`"weight"`, "pool, server, force"}},
		{"DELETE", "/delete_server?server=a:1&force=yes", ``, 400, []string{`"force" is "yes"`, "true or false"}},
		{"DELETE", "/delete_server?server=a:1&force", ``, 400, []string{`"force" is ""`, "true or false"}},
		{"DELETE", "/delete_server", `{"server":"a:1","force":1}`, 400, []string{`"force" is "1"`, "true or false"}},
		{"DELETE", "/delete_server?server=a:1", `{"server":"b:1"}`, 400, []string{`differ in "server"`}},
		{"DELETE", "/delete_server?pool=a", `{"server":"b:1","pool":"b"}`, 400, []string{`differ in "pool"`}},
		{"DELETE", "/delete_server?force=true", `{"server":"b:1","force":false}`, 400, []string{`differ in "force"`}},
		{"DELETE", "/delete_server?server=a:1", `{`, 400, []string{"not valid JSON"}},

		{"POST", "/reload?dry_run=yes", ``, 400, []string{`"dry_run" is "yes"`, "true or false"}},
		{"POST", "/reload?dry_run", ``, 400, []string{`"dry_run" is ""`, "true or false"}},
		{"POST", "/reload?dry_run=true&dry_run=true", ``, 400, []string{`"dry_run" is given 2 times`}},
		{"POST", "/reload?force=true", ``, 400, []string{`"force" is not known`, "the parameters are dry_run"}},
		{"POST", "/reload", `{"dry_run": true}`, 400, []string{"a body is not allowed here", "config file", "?dry_run=true"}},
		{"GET", "/reload", ``, 405, []string{"use POST"}},
		{"DELETE", "/delete_server?server=a:1&dry_run=1", ``, 400, []string{`"dry_run" is "1"`, "true or false"}},

		{"GET", "/upload_server", ``, 405, []string{`"GET"`, "/upload_server", "use POST"}},
		{"POST", "/delete_server", `{"server":"a:1"}`, 405, []string{"use DELETE"}},
		{"DELETE", "/servers", ``, 405, []string{"use GET, HEAD"}},
		{"OPTIONS", "/upload_server", ``, 405, []string{"use POST"}},
		{"GET", "/server", ``, 404, []string{`"/server"`, "GET /servers", "POST /upload_server", "DELETE /delete_server", "GET /healthz"}},
		{"POST", "//upload_server", `{"server":"a:1"}`, 404, []string{`"//upload_server"`}},
		{"POST", "/x/../upload_server", `{"server":"a:1"}`, 404, nil},
		{"GET", "/" + strings.Repeat("y", 9000), ``, 404, []string{"yyy\"…"}},
	} {
		name := fmt.Sprintf("%s %.40s %.60s", c.method, c.target, c.body)
		if !reads(c.method) {
			changes++
		}
		t.Run(name, func(t *testing.T) {
			response, text := w.do(c.method, c.target, strings.NewReader(c.body))
			wantRefused(t, response, text, c.status, c.says...)
			if len(text) > 1024 {
				t.Errorf("the answer has %d bytes", len(text))
			}
			if allow := response.Header.Get("Allow"); (allow != "") != (c.status == 405) {
				t.Errorf("status %d has Allow %q", c.status, allow)
			}
		})
	}
	if calls := w.fake.asked(); len(calls) > 0 {
		t.Errorf("refused requests reached the controller: %v", calls)
	}
	if lines := w.log.lines(""); len(lines) != changes || len(w.log.lines("change refused")) != changes {
		t.Errorf("%d of %d refused changes were logged: %q", len(lines), changes, lines)
	}
}

func TestABodyHasAtMost64KiB(t *testing.T) {
	w := start(t)
	fits := `{"server":"a:1"}` + strings.Repeat(" ", maxBody-len(`{"server":"a:1"}`))
	w.want("POST", "/upload_server", fits, 201, `{"pool":"web","server":"a:1","created":true}`)
	for name, body := range map[string]io.Reader{
		"with a length": strings.NewReader(fits + " "),
		"chunked":       io.MultiReader(strings.NewReader(fits + " ")),
	} {
		response, text := w.do("POST", "/upload_server", body)
		t.Log(name)
		wantRefused(t, response, text, 413, "65536 bytes")
	}
	if calls := w.fake.asked(); len(calls) != 1 {
		t.Errorf("the controller was asked %v", calls)
	}
}

func TestWhatABrowserSendsForAnotherSiteIsRefused(t *testing.T) {
	w := start(t)
	body := func() io.Reader { return strings.NewReader(`{"server":"a:1"}`) }
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "http://evil.example"},
		{"Origin", "http://" + w.Addr().String() + ".evil.example"},
		{"Origin", "http://localhost"},
		{"Origin", "null"},
	} {
		for _, path := range []string{"/", "/servers", "/healthz", "/none"} {
			response, text := w.do("GET", path, nil, header...)
			wantRefused(t, response, text, 403, "origin")
		}
		response, text := w.do("POST", "/upload_server", body(), header...)
		wantRefused(t, response, text, 403, "origin")
		response, text = w.do("DELETE", "/delete_server", body(), header...)
		wantRefused(t, response, text, 403, "origin")
	}
	if calls := w.fake.asked(); len(calls) > 0 {
		t.Errorf("refused requests reached the controller: %v", calls)
	}
	// What curl -d and a page of our own send is welcome.
	if response, text := w.do("POST", "/upload_server", body(), "Content-Type", "application/x-www-form-urlencoded"); response.StatusCode != 201 {
		t.Errorf("got %d %s", response.StatusCode, text)
	}
	if response, text := w.do("POST", "/upload_server", body(), "Sec-Fetch-Site", "same-origin", "Origin", "http://"+w.Addr().String()); response.StatusCode != 200 {
		t.Errorf("got %d %s", response.StatusCode, text)
	}
}

func TestOnlyRefusalsAreShown(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		err    error
		status int
		says   string
	}{
		{Invalid("server %q has no port", "a"), 400, `server "a" has no port`},
		{NotFound("pool %q does not exist", "b"), 404, `pool "b" does not exist`},
		{fmt.Errorf("state: %w", Conflict("stopping")), 409, "stopping"},
		{&Refusal{503, "the balancer is stopping"}, 503, "the balancer is stopping"},
		{errors.New("open secret.json: disk full"), 500, "internal error"},
		{&Refusal{Reason: "no status"}, 500, "internal error"},
	} {
		w.fake.upload = func(context.Context) error { return c.err }
		response, text := w.do("POST", "/upload_server", strings.NewReader(`{"server":"a:1"}`))
		wantRefused(t, response, text, c.status, c.says)
		if strings.Contains(text, "secret") {
			t.Errorf("an internal error was shown: %s", text)
		}
	}
	if got := w.log.lines("level=ERROR"); len(got) != 2 || len(w.log.lines("who=- remote=127.0.0.1")) != 6 || !strings.Contains(got[0], "disk full") || !strings.Contains(got[0], "remote=127.0.0.1") {
		t.Errorf("logged %q", got)
	}
}

// dial returns a connection to the listener that has sent text.
func (w *world) dial(text string) *net.TCPConn {
	w.Helper()
	conn, err := net.Dial("tcp", w.Addr().String())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		w.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

const beginning = "POST /upload_server HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16\r\n\r\n{\"server\""

func TestSlowClientsAreLetGo(t *testing.T) {
	w := start(t, func(l *Listener) {
		l.http.ReadHeaderTimeout = 50 * time.Millisecond
		l.http.ReadTimeout = 100 * time.Millisecond
	})
	head := w.dial("POST /upload_server HTTP/1.1\r\nHost: localhost\r\n")
	body := w.dial(beginning)
	if _, err := io.Copy(io.Discard, head); err != nil {
		t.Errorf("half a head: the connection is not closed: %v", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(body), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, response, string(text), 408, "in time")
	if calls := w.fake.asked(); len(calls) > 0 {
		t.Errorf("half a request reached the controller: %v", calls)
	}
}

func TestABodyThatBreaksOffIsRefused(t *testing.T) {
	w := start(t)
	conn := w.dial(beginning)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	wantRefused(t, response, string(text), 400, "broke off")
	if calls := w.fake.asked(); len(calls) > 0 {
		t.Errorf("half a request reached the controller: %v", calls)
	}
}
