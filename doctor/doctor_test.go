package doctor

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// On a healthy machine, with a config that is well thought out, there is nothing to
// say, and each check says so.
func TestNothingToSay(t *testing.T) {
	c := conf(t, web+","+db, pair, guarded)
	report := Examine(machine(nil), c)
	if report.Worst != OK {
		t.Errorf("the worst is %v: %+v", report.Worst, report.Findings)
	}
	for _, check := range slices.Concat(ofHost, ofConfig) {
		if !slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Check == check.name }) {
			t.Errorf("nothing is said of %s", check.name)
		}
	}
	var out bytes.Buffer
	if err := report.Print(&out); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.HasPrefix(text, "Fine\n  descriptors: ") || !strings.HasSuffix(text, "\n\nno problems and no warnings\n") {
		t.Errorf("printed %s", text)
	}
}

// Without a config the machine alone is looked at.
func TestWithoutConfig(t *testing.T) {
	for _, f := range Examine(machine(nil), nil).Findings {
		if slices.ContainsFunc(ofConfig, func(c check) bool { return c.name == f.Check }) {
			t.Errorf("says %+v", f)
		}
	}
}

// Who looks at this machine is told something of everything, whatever it is.
func TestThisHost(t *testing.T) {
	report := Examine(ThisHost(), conf(t, web, pair, guarded))
	if len(report.Findings) < len(ofHost)+len(ofConfig) {
		t.Errorf("found %+v", report.Findings)
	}
	if limit, err := (&Host{Root: ThisHost().Root}).openFiles(); err != nil || limit == 0 {
		t.Errorf("%d files may be open, error %v", limit, err)
	}
}

// What people read: the worst first, each with its reason and with lines to copy.
func TestPrint(t *testing.T) {
	long := strings.Repeat("word ", 20) + "end"
	report := Report{Worst: Problem, Findings: []Finding{
		{"first", Problem, "what is wrong", long, "one command\nanother that is not wrapped however long it is, because somebody wants to copy all of it"},
		{"second", Problem, "more", "because", "this"},
		{"third", Unknown, "nobody\x1b[2Jknows", "", ""},
		{"fourth", OK, "good", "", ""},
		{"fifth", OK, long, "", ""},
	}}
	const want = `Problems

  first: what is wrong
    why  word word word word word word word word word word word word word word word word
         word word word word end
    do   one command
         another that is not wrapped however long it is, because somebody wants to copy all of it

  second: more
    why  because
    do   this

Not known
  third: nobody?[2Jknows

Fine
  fourth: good
  fifth: word word word word word word word word word word word word word word word word
    word word word word end
`
	var out bytes.Buffer
	if err := report.Print(&out); err != nil || out.String() != want {
		t.Errorf("error %v, printed\n%s\nwant\n%s", err, out.String(), want)
	}
}

func TestSummary(t *testing.T) {
	for want, levels := range map[string][]Level{
		"no problems and no warnings": {OK, Info, Unknown},
		"1 warning":                   {OK, Warning},
		"2 warnings":                  {Warning, Warning},
		"1 problem":                   {Problem, OK},
		"2 problems and 1 warning":    {Problem, Problem, Warning},
	} {
		var r Report
		for _, level := range levels {
			r.Findings = append(r.Findings, Finding{Level: level})
			r.Worst = max(r.Worst, level)
		}
		if got := r.Summary(); got != want {
			t.Errorf("%v: %q, want %q", levels, got, want)
		}
	}
}

// What machines read, the worst first.
func TestJSON(t *testing.T) {
	report := Examine(machine(changed{"proc/sys/net/core/somaxconn": "128", "proc/self/limits": gone}), nil)
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Worst    string
		Findings []struct{ Check, Level, What, Why, Do string }
	}
	if err := json.Unmarshal(data, &got); err != nil || got.Worst != "warning" {
		t.Fatalf("error %v, worst %q", err, got.Worst)
	}
	first, second := got.Findings[0], got.Findings[1]
	if first.Check != "listen queue" || first.Level != "warning" || first.Why == "" || !strings.Contains(first.Do, "sysctl -w net.core.somaxconn='4096'") {
		t.Errorf("the first is %+v", first)
	}
	if second.Check != "descriptors" || second.Level != "unknown" {
		t.Errorf("the second is %+v", second)
	}
}

// Files that say what no kernel would, or that cannot be opened, stop no check.
func TestGarbage(t *testing.T) {
	c := conf(t, web+","+db, pair, guarded)
	for name := range healthy {
		for _, text := range []string{
			gone, "", "\n", "-1", "0", "-1 -1 -1", "0 0 0", "1 0 0", "9223372036854775807 9223372036854775807 9223372036854775807",
			"-9223372036854775808 -9223372036854775808 -9223372036854775808", "1e9", "NaN", "max", "unlimited", ":::", "0::", "TcpExt:\nTcpExt:", "TCP:",
			"\x00\xff\xfe", strings.Repeat("a ", 1<<17),
		} {
			said(t, Examine(machine(changed{name: text}), c))
		}
		h := machine(nil)
		h.Root = unreadable{h.Root, name}
		said(t, Examine(h, c))
	}
}

// said expects each check to have said something that can be shown on a terminal.
func said(t *testing.T, report Report) {
	t.Helper()
	for _, check := range slices.Concat(ofHost, ofConfig) {
		if !slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Check == check.name && f.What != "" }) {
			t.Errorf("nothing is said of %s", check.name)
		}
	}
	var out bytes.Buffer
	if err := report.Print(&out); err != nil {
		t.Fatal(err)
	}
	strange := func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r == 0xfffd }
	if text := out.String(); len(text) > 1<<14 || strings.ContainsFunc(text, strange) {
		t.Errorf("prints %.5000q", text)
	}
}

func FuzzExamine(f *testing.F) {
	names := slices.Sorted(maps.Keys(healthy))
	for i, name := range names {
		f.Add(i, healthy[name])
	}
	f.Fuzz(func(t *testing.T, file int, text string) {
		if text == gone {
			return
		}
		name := names[uint(file)%uint(len(names))]
		said(t, Examine(machine(changed{name: text}), conf(t, web+","+db, pair, guarded)))
	})
}
