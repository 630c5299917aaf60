package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// An httpRecord is a line of an http listener's access log. What is nil was left
// out.
type httpRecord struct {
	Time      time.Time
	Listener  string
	Client    string
	Method    string
	Host      string
	Target    string
	Protocol  string
	Referer   *string
	UserAgent *string `json:"user_agent"`
	Received  *int64
	Status    *int
	Sent      *int64
	Route     *string
	Pool      *string
	Server    *string
	Tried     *int64
	Reused    *bool

	QueueMS    *float64 `json:"queue_ms"`
	ConnectMS  *float64 `json:"connect_ms"`
	FirstByte  *float64 `json:"first_byte_ms"`
	DurationMS *float64 `json:"duration_ms"`
	Ended      string
}

// read returns what is in a file.
func (w *world) read(path string) string {
	w.Helper()
	text, err := os.ReadFile(path)
	w.must(err)
	return string(text)
}

// A visit is a kind of request of logged. In its texts # stands for a number.
type visit struct {
	name     string
	text     string
	body     string // of the answer; empty: is not looked at
	status   int
	record   string // what told makes of its record
	combined string // what is between time and bytes of its line, and behind them
}

var visits = []visit{
	{
		"default", "GET /default/#?a=b HTTP/1.1\r\nHost: e2e\r\nUser-Agent: e2e \"1\"\r\nReferer: http://e2e/\r\n\r\n", "hello", 200,
		`GET e2e /default/#?a=b HTTP/1.1 http://e2e/ e2e "1"; 0 received, 200, 5 sent; route none, pool web, answered`,
		`"GET /default/#?a=b HTTP/1.1" 200 "http://e2e/" "e2e \x221\x22"`,
	},
	{
		"upload", "POST /routed/# HTTP/1.1\r\nHost: e2e\r\nContent-Length: 7\r\n\r\n1234567", "hello", 200,
		`POST e2e /routed/# HTTP/1.1 none none; 7 received, 200, 5 sent; route */routed, pool web, answered`,
		`"POST /routed/# HTTP/1.1" 200 "-" "-"`,
	},
	{
		"redirect", "GET /moved/# HTTP/1.1\r\nHost: e2e\r\n\r\n", "it is elsewhere\n", 307,
		`GET e2e /moved/# HTTP/1.1 none none; 0 received, 307; route */moved, pool none, redirected`,
		`"GET /moved/# HTTP/1.1" 307 "-" "-"`,
	},
	{
		"nobody", "GET /down/# HTTP/1.1\r\nHost: e2e\r\n\r\n", "no server could be connected to\n", 502,
		`GET e2e /down/# HTTP/1.1 none none; 0 received, 502; route */down, pool down, connect_failed`,
		`"GET /down/# HTTP/1.1" 502 "-" "-"`,
	},
	{
		"ambiguous", "GET /routed/../# HTTP/1.1\r\nHost: e2e\r\n\r\n", "", 400,
		`GET e2e /routed/../# HTTP/1.1 none none; 0 received, 400; route none, pool none, refused_head`,
		`"GET /routed/../# HTTP/1.1" 400 "-" "-"`,
	},
	{
		"malformed, which ends the connection", "POST /default/# HTTP/1.1\r\nHost: e2e\r\nContent-Length: 1, 1\r\n\r\n", "", 400,
		`    none none; none received, 400; route none, pool none, refused_head`,
		`"-" 400 "-" "-"`,
	},
}

// numbered puts a number into one of a visit's texts.
func numbered(text string, number int) string {
	return strings.ReplaceAll(text, "#", strconv.Itoa(number))
}

// told is what a record says that does not depend on time and chance, nor on how
// the balancer puts its own answers.
func (r *httpRecord) told() string {
	sent := ""
	if r.Ended == "answered" {
		sent = fmt.Sprintf(", %s sent", shown(r.Sent))
	}
	return fmt.Sprintf("%s %s %s %s %s %s; %s received, %s%s; route %s, pool %s, %s", r.Method, r.Host, r.Target, r.Protocol,
		shown(r.Referer), shown(r.UserAgent), shown(r.Received), shown(r.Status), sent, shown(r.Route), shown(r.Pool), r.Ended)
}

// shown is the text of a member, or that there is none.
func shown[T any](member *T) string {
	if member == nil {
		return "none"
	}
	return fmt.Sprint(*member)
}

// check looks at what told leaves out.
func (r *httpRecord) check() error {
	visited, answered := r.Pool != nil, r.Ended == "answered"
	switch {
	case r.Listener != "web" || !strings.HasPrefix(r.Client, "127.0.0.1:") || time.Since(r.Time).Abs() > time.Minute:
		return errors.New("of another connection")
	case r.DurationMS == nil || *r.DurationMS < 0:
		return errors.New("without a duration")
	case (r.Server != nil) != visited || (r.Tried != nil) != visited || (r.Reused != nil) != visited || (r.QueueMS != nil) != visited:
		return errors.New("with half a way")
	case visited && (*r.Tried != 1 || *r.QueueMS > *r.DurationMS):
		return errors.New("with detours")
	case (r.FirstByte != nil) != answered || answered && *r.FirstByte > *r.DurationMS:
		return errors.New("with a wrong time of the first byte")
	case (r.ConnectMS != nil) != (answered && !*r.Reused):
		return errors.New("with a wrong time to connect")
	}
	return nil
}

// logged is a config for all visits, with an access log.
func (w *world) logged(io_, log, format string) object {
	config := httpOnly(w.httpServer(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "hello") }))
	config["io"] = io_
	config["pools"] = append(config["pools"].([]object), object{"name": "down", "servers": []string{w.closedPort()}, "health": false})
	l := listenerOf(config)
	l["access_log"], l["access_log_format"] = log, format
	l["routes"] = []object{
		{"path": "/routed", "pool": "web"}, {"path": "/down", "pool": "down"},
		{"path": "/moved", "redirect": object{"path": "/", "status": 307}},
	}
	return config
}

// pay makes rounds of all visits, numbered through, each round on one connection,
// and counts them.
func (w *world) pay(address string, rounds int, made *atomic.Int64) error {
	return onEach(rounds, func(i int) error {
		conn, err := (&net.Dialer{Deadline: w.deadline()}).Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(w.deadline())
		in := bufio.NewReader(conn)
		for j, v := range visits {
			if _, err := io.WriteString(conn, numbered(v.text, i*len(visits)+j)); err != nil {
				return err
			}
			response, err := http.ReadResponse(in, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != v.status || v.body != "" && string(body) != v.body {
				return fmt.Errorf("%s: %d %q, %v", v.name, response.StatusCode, body, err)
			}
		}
		made.Add(1)
		return nil
	})
}

// wantAll compares how often each text was found with the visits of so many rounds.
func (w *world) wantAll(rounds int, got map[string]int, text func(v *visit) string) {
	w.Helper()
	for number := range rounds * len(visits) {
		v := &visits[number%len(visits)]
		got[numbered(text(v), number)]--
	}
	for found, n := range got {
		if n != 0 {
			w.Errorf("%+d of %q", n, found)
		}
	}
}

// TestAccessLogOfHTTP: each of many requests has exactly one record, in one of the
// files that logrotate turned the log to meanwhile, and it says what the client saw.
func TestAccessLogOfHTTP(t *testing.T) {
	const rounds, turns = 300, 5
	overEachIO(t, 30*time.Second, func(w *world, io_ string) {
		log := filepath.Join(w.TempDir(), "access.log")
		b := w.balance(w.logged(io_, log, "json"))
		var made atomic.Int64
		paid := make(chan error, 1)
		go func() { paid <- w.pay(b.listeners["web"], rounds, &made) }()
		files := []string{log}
		for i := range turns {
			w.eventually("there are more requests", func() bool { return made.Load() >= int64(i*rounds/turns) || len(paid) > 0 })
			old := fmt.Sprint(log, ".", i)
			w.eventually("there is a file to be renamed", func() bool { return os.Rename(log, old) == nil })
			b.signal(syscall.SIGUSR1)
			files = append(files, old)
		}
		w.must(receive(w, "all requests are made", paid))
		var all []httpRecord
		w.eventually("every request has a record", func() bool {
			all = nil
			for _, path := range files {
				all = append(all, recordsAt[httpRecord](w, path)...)
			}
			return len(all) >= rounds*len(visits)
		})
		got := make(map[string]int)
		for _, r := range all {
			got[r.told()]++
			if err := r.check(); err != nil {
				w.Errorf("a record %v: %s", err, asJSON(r))
			}
		}
		w.wantAll(rounds, got, func(v *visit) string { return v.record })
	})
}

// combinedLine is client, two that are not known, and time; then the request and its
// status, the bytes, referer and user agent.
var combinedLine = regexp.MustCompile(`^127\.0\.0\.1 - - \[([^]]+)\] ("[^"]+" \d{3}) (\d+)( "[^"]+" "[^"]+")$`)

// TestCombinedAccessLog: in the format that programs for Apache's and nginx's logs
// read there is a line for each request.
func TestCombinedAccessLog(t *testing.T) {
	const rounds = 20
	w := newWorld(t, 20*time.Second)
	log := filepath.Join(w.TempDir(), "access.log")
	b := w.balance(w.logged("auto", log, "combined"))
	w.must(w.pay(b.listeners["web"], rounds, new(atomic.Int64)))
	w.eventually("every request has a line", func() bool { return strings.Count(w.read(log), "\n") >= rounds*len(visits) })
	got := make(map[string]int)
	for line := range strings.Lines(w.read(log)) {
		found := combinedLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if found == nil {
			w.Fatalf("the log has the line %q", line)
		}
		if at, err := time.Parse("02/Jan/2006:15:04:05 -0700", found[1]); err != nil || time.Since(at).Abs() > time.Minute {
			w.Errorf("the time %q: %v", found[1], err)
		}
		if strings.HasSuffix(found[2], " 200") && found[3] != "5" {
			w.Errorf("%s has %s bytes, want 5", found[2], found[3])
		}
		got[found[2]+found[4]]++
	}
	w.wantAll(rounds, got, func(v *visit) string { return v.combined })
}
