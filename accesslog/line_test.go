package accesslog

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

var someTime = time.Date(2026, 11, 22, 16, 20, 0, 123456789, time.FixedZone("", 3600))

func TestALineHasItsMembersInOrder(t *testing.T) {
	client := netip.MustParseAddrPort("[fe80::1%eth\"0]:80")
	got := Begin([]byte("before "), someTime).
		Text("text", "a").
		Bytes("bytes", nil).
		Address("client", client).
		Number("least", -1<<63).
		Bool("yes", true).
		Bool("no", false).
		Millis("some_ms", 12*time.Second+34567*time.Nanosecond).
		Millis("more_ms", 1999999*time.Nanosecond).
		Millis("none_ms", -time.Second).
		End()
	const want = `before {"time":"2026-11-22T15:20:00.123456Z","text":"a","bytes":"","client":"[fe80::1]:80",` +
		`"least":-9223372036854775808,"yes":true,"no":false,"some_ms":12000.034,"more_ms":1.999,"none_ms":0.000}` + "\n"
	if string(got) != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestHostileTextsAreEscaped(t *testing.T) {
	for _, c := range []struct{ text, json, escaped string }{
		{"plain ~", "plain ~", "plain ~"},
		{`"quoted" \`, `\"quoted\" \\`, `\x22quoted\x22 \x5C`},
		{"\x00\r\n\x1b\x7f", `\u0000\u000d\u000a\u001b\u007f`, `\x00\x0D\x0A\x1B\x7F`},
		{"a\u0085\u2028\u2029\u00a0", `a\u0085\u2028\u2029` + "\u00a0", `a\xC2\x85\xE2\x80\xA8\xE2\x80\xA9\xC2\xA0`},
		{"\xff\xc3(\xed\xa0\x80", "\ufffd\ufffd(\ufffd\ufffd\ufffd", `\xFF\xC3(\xED\xA0\x80`},
		{"é日\U0001f600", "é日\U0001f600", `\xC3\xA9\xE6\x97\xA5\xF0\x9F\x98\x80`},
	} {
		if got := string(Line{}.Text("a", c.text)); got != `,"a":"`+c.json+`"` {
			t.Errorf("%q is %s", c.text, got)
		}
		if got := string(AppendEscaped(nil, []byte(c.text))); got != c.escaped {
			t.Errorf("%q is %s", c.text, got)
		}
	}
}

func TestLongTextsAreCut(t *testing.T) {
	const most = MaxText
	for _, c := range []struct{ text, kept string }{
		{strings.Repeat("x", most), strings.Repeat("x", most)},
		{strings.Repeat("x", most+1), strings.Repeat("x", most) + mark},
		{strings.Repeat("x", most-1) + "é", strings.Repeat("x", most-1) + mark},
		{strings.Repeat("x", most-3) + "\U0001f600", strings.Repeat("x", most-3) + mark},
		{strings.Repeat("\x80", most+9), strings.Repeat("\ufffd", most) + mark},
	} {
		if got := string(Line{}.Text("a", c.text)); got != `,"a":"`+c.kept+`"` {
			t.Errorf("%.9q…, %d long, is %d long and ends with %q", c.text, len(c.text), len(got), got[len(got)-9:])
		}
	}
	got := string(AppendEscaped(nil, []byte(strings.Repeat("x", most+1))))
	if want := strings.Repeat("x", most) + `\xE2\x80\xA6`; got != want {
		t.Errorf("%d bytes that end with %q", len(got), got[len(got)-20:])
	}
}

var escapedForm = regexp.MustCompile(`^([ !#-\[\]-~]|\\x[0-9A-F]{2})*$`)

func FuzzTextsAreOneLine(f *testing.F) {
	for _, s := range []string{"plain", "a \"quoted\" \\ one", "\x00\x1f\n\t\x7f", "\xff\xc3(", "日本語 \u2028 \U0001f600 \ufffd", "\u009b2J"} {
		f.Add(s)
	}
	f.Add(strings.Repeat("日", MaxText))
	f.Fuzz(func(t *testing.T, text string) {
		line := Begin(nil, someTime).Text("name", text).End()
		var got struct{ Name string }
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if !utf8.Valid(line) || strings.ContainsFunc(string(line[:len(line)-1]), unicode.IsControl) {
			t.Errorf("%q is not plain text", line)
		}
		if kept, long := strings.CutSuffix(got.Name, mark); len(text) > MaxText {
			if !long || !strings.HasPrefix(string([]rune(text)), kept) {
				t.Errorf("%q is cut to %q", text, kept)
			}
		} else if got.Name != string([]rune(text)) {
			t.Errorf("%q is read as %q", text, got.Name)
		}
		if escaped := AppendEscaped(nil, []byte(text)); !escapedForm.Match(escaped) {
			t.Errorf("%q is escaped as %q", text, escaped)
		}
	})
}

func TestALineCostsNoMemory(t *testing.T) {
	buffer, client := make([]byte, 0, 4<<10), netip.MustParseAddrPort("[2001:db8::1]:80")
	text := "a \"quoted\" text é \xff"
	bytes := []byte(text)
	n := testing.AllocsPerRun(1000, func() {
		Begin(buffer, someTime).Text("text", text).Bytes("bytes", bytes).Address("client", client).Millis("ms", time.Hour).End()
		AppendEscaped(buffer, bytes)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
