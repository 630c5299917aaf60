package httpproxy

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"fulcrum/accesslog"
)

// someEntry is a request of which everything is known.
func someEntry() *entry {
	return &entry{
		time:      time.Date(2026, 11, 22, 17, 20, 0, 5000, time.FixedZone("", 3600)),
		listener:  "web",
		client:    netip.MustParseAddrPort("[2001:db8::1]:50000"),
		method:    []byte("POST"),
		target:    []byte("/api/x?y=%20"),
		host:      []byte("example.com"),
		protocol:  []byte("HTTP/1.1"),
		referer:   []byte("https://example.com/"),
		userAgent: []byte(`curl "8" é`),
		status:    201,
		received:  10,
		sent:      1 << 40,
		route:     "*.com/api",
		pool:      "api",
		server:    "127.0.0.1:8080",
		tries:     2,
		reused:    true,
		queue:     time.Second,
		connect:   1500 * time.Microsecond,
		firstByte: 0,
		total:     1234567 * time.Microsecond,
		ended:     Answered,
	}
}

// bareEntry is a connection that was refused before anything was known of it.
func bareEntry() *entry {
	return &entry{time: someEntry().time, listener: "web", queue: -1, connect: -1, firstByte: -1, total: time.Millisecond, ended: ClientLimit}
}

func TestARequestIsRecorded(t *testing.T) {
	e := someEntry()
	const json = `{"time":"2026-11-22T16:20:00.000005Z","listener":"web","client":"[2001:db8::1]:50000",` +
		`"method":"POST","host":"example.com","target":"/api/x?y=%20","protocol":"HTTP/1.1",` +
		`"referer":"https://example.com/","user_agent":"curl \"8\" é","received":10,"status":201,"sent":1099511627776,` +
		`"route":"*.com/api","pool":"api","server":"127.0.0.1:8080","tried":2,"reused":true,` +
		`"queue_ms":1000.000,"connect_ms":1.500,"first_byte_ms":0.000,"duration_ms":1234.567,"ended":"answered"}` + "\n"
	const combined = `2001:db8::1 - - [22/Nov/2026:17:20:00 +0100] "POST /api/x?y=%20 HTTP/1.1" 201 1099511627776 ` +
		`"https://example.com/" "curl \x228\x22 \xC3\xA9"` + "\n"
	if got := e.appendJSON([]byte("before ")); string(got) != "before "+json {
		t.Errorf("got\n%s, want\n%s", got, json)
	}
	if got := e.appendCombined([]byte("before ")); string(got) != "before "+combined {
		t.Errorf("got\n%s, want\n%s", got, combined)
	}
}

func TestWhatIsNotKnownIsLeftOut(t *testing.T) {
	e := bareEntry()
	const json = `{"time":"2026-11-22T16:20:00.000005Z","listener":"web","duration_ms":1.000,"ended":"client_limit"}` + "\n"
	const combined = `- - - [22/Nov/2026:17:20:00 +0100] "-" - 0 "-" "-"` + "\n"
	if got := e.appendJSON(nil); string(got) != json {
		t.Errorf("got\n%s, want\n%s", got, json)
	}
	if got := e.appendCombined(nil); string(got) != combined {
		t.Errorf("got\n%s, want\n%s", got, combined)
	}
}

// A record has room in the log whatever a client sends.
func TestARecordIsBounded(t *testing.T) {
	e := someEntry()
	for _, text := range e.texts() {
		*text = bytes.Repeat([]byte{0x01}, 256<<10)
	}
	const most = 300 << 10 // six texts, each byte of which has become six
	if got := len(e.appendJSON(nil)); got > most {
		t.Errorf("the JSON line is %d bytes long", got)
	}
	if got := len(e.appendCombined(nil)); got > most {
		t.Errorf("the combined line is %d bytes long", got)
	}
}

// texts are those that a client chooses.
func (e *entry) texts() map[string]*[]byte {
	return map[string]*[]byte{"method": &e.method, "host": &e.host, "target": &e.target, "protocol": &e.protocol,
		"referer": &e.referer, "user_agent": &e.userAgent}
}

var combinedForm = regexp.MustCompile(`^(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] ` +
	`"([ !#-~]*)" (\d{3}|-) (\d+) "([ !#-~]*)" "([ !#-~]*)"\n$`)

func FuzzRecords(f *testing.F) {
	f.Add("GET", "h", "/", "HTTP/1.1", "", "Mozilla/5.0 (X11)")
	f.Add("", "", "", "", "\"\r\n", "\x00\x7f\xff \\\u2028")
	f.Add("GET", "h", "/"+strings.Repeat("é", accesslog.MaxText), "HTTP/1.0", "-", "")
	f.Fuzz(func(t *testing.T, method, host, target, protocol, referer, userAgent string) {
		e := someEntry()
		e.method, e.host, e.target, e.protocol = []byte(method), []byte(host), []byte(target), []byte(protocol)
		e.referer, e.userAgent = []byte(referer), []byte(userAgent)
		line := e.appendJSON(nil)
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%q: %v", line, err)
		}
		for name, text := range e.texts() {
			want, short := any(nil), len(*text) <= accesslog.MaxText
			if len(*text) > 0 {
				want = string([]rune(string(*text)))
			}
			if short && got[name] != want {
				t.Errorf("%s %q is read as %q", name, *text, got[name])
			}
		}
		line = e.appendCombined(nil)
		m := combinedForm.FindSubmatch(line)
		if m == nil {
			t.Fatalf("%q is not in the combined format", line)
		}
		if want := string(accesslog.AppendEscaped(nil, e.userAgent)); string(m[7]) != want && want != "" {
			t.Errorf("user agent %q is read as %q", userAgent, m[7])
		}
	})
}

func TestEndingsHaveNames(t *testing.T) {
	names := map[string]bool{}
	for e := range Ending(Endings) {
		names[e.String()] = true
	}
	if len(names) != Endings || names[""] {
		t.Errorf("%d endings have the names %v", Endings, names)
	}
}

func TestRecordsCostNoMemory(t *testing.T) {
	e, b := someEntry(), make([]byte, 0, 4<<10)
	if n := testing.AllocsPerRun(1000, func() { e.appendCombined(e.appendJSON(b)) }); n != 0 {
		t.Errorf("%v allocations for two records", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	e, line := someEntry(), make([]byte, 0, 4<<10)
	for name, appendTo := range map[string]func([]byte) []byte{"json": e.appendJSON, "combined": e.appendCombined} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				appendTo(line)
			}
		})
	}
}
