package route

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A reader is what some server makes of a path.
type reader struct {
	decodes       int  // how often; 0: unreserved characters only, once
	hostFirst     bool // "//x/y" is /y of the host x
	backslash     bool // is a slash
	paramsFirst   bool // are left out before anything is decoded,
	params        bool // or after
	ends          bool // a decoded "?" or "#" ends the path
	merges        bool // empty names are nothing
	reservedKinds bool // of all escapes, only those of a rule's characters are decoded
}

// readers are all that can be.
var readers = func() (all []reader) {
	for decodes := range 3 {
		for bits := range 1 << 7 {
			is := func(bit int) bool { return bits>>bit&1 == 1 }
			all = append(all, reader{decodes, is(0), is(1), is(2), is(3), is(4), is(5), is(6)})
		}
	}
	return all
}()

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

// decodeOnce decodes what escapes of the characters there are, of all for "".
func decodeOnce(s, characters string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		out = append(out, s[i])
		if s[i] != '%' || i+3 > len(s) {
			continue
		}
		c, err := hex.DecodeString(s[i+1 : i+3])
		if err == nil && (characters == "" || strings.IndexByte(characters, c[0]) >= 0) {
			out[len(out)-1] = c[0]
			i += 2
		}
	}
	return string(out)
}

func withoutParams(s string) string {
	names := strings.Split(s, "/")
	for i := range names {
		names[i], _, _ = strings.Cut(names[i], ";")
	}
	return strings.Join(names, "/")
}

// reads returns the path that a server finds in one.
func (r reader) reads(path string) string {
	slash := func() {
		if r.backslash {
			path = strings.ReplaceAll(path, `\`, "/")
		}
	}
	slash()
	if r.hostFirst && strings.HasPrefix(path, "//") {
		i := strings.IndexByte(path[2:], '/')
		if i < 0 {
			return "/"
		}
		path = path[2+i:]
	}
	if r.paramsFirst {
		path = withoutParams(path)
	}
	characters := ""
	if r.decodes == 0 {
		characters = plain
	} else if r.reservedKinds {
		characters = plain + "%!$&'()*+,=:@"
	}
	for range max(r.decodes, 1) {
		path = decodeOnce(path, characters)
	}
	slash()
	if i := strings.IndexAny(path, "?#"); r.ends && i >= 0 {
		path = path[:i]
	}
	if r.params {
		path = withoutParams(path)
	}
	for r.merges && strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return withoutSteps(path)
}

// withoutSteps takes the steps . and .. (RFC 3986, section 5.2.4).
func withoutSteps(path string) string {
	var names []string
	from := strings.Split(path, "/")[1:]
	for i, name := range from {
		switch {
		case name != "." && name != "..":
			names = append(names, name)
			continue
		case name == ".." && len(names) > 0:
			names = names[:len(names)-1]
		}
		if i == len(from)-1 {
			names = append(names, "")
		}
	}
	return "/" + strings.Join(names, "/")
}

// naive is what Find has to find for a path that is read already.
func naive(rules []Rule, host, path string) int {
	host = strings.ToLower(host)
	best, bestHost, bestPath := none, 0, 0
	for i, r := range rules {
		hostRank := 1
		parent, wild := strings.CutPrefix(r.Host, "*")
		switch {
		case wild && strings.HasSuffix(host, parent):
			hostRank = 1 + len(parent)
		case !wild && r.Host != "" && r.Host == host:
			hostRank = 1000
		case r.Host != "":
			continue
		}
		if r.Path != "" && path != r.Path && !strings.HasPrefix(path, strings.TrimSuffix(r.Path, "/")+"/") {
			continue
		}
		if hostRank > bestHost || hostRank == bestHost && len(r.Path) >= bestPath {
			best, bestHost, bestPath = i, hostRank, len(r.Path)
		}
	}
	return best
}

// hold checks what is promised of Find, and reports whether it found the request
// to be clear.
func hold(t *testing.T, rules []Rule, table *Table, host, target string) bool {
	t.Helper()
	rule, covered, err := table.Find([]byte(host), []byte(target))
	path, _, _ := strings.Cut(target, "?")
	if covered < 0 || covered > len(path) || rule < none || rule >= len(rules) || rule == none && covered > 0 {
		t.Fatalf("%q %q: %d, %d, %v", host, target, rule, covered, err)
	}
	if err != nil {
		if err != ErrAmbiguous || rule != none {
			t.Fatalf("%q %q: %d, %v", host, target, rule, err)
		}
		return false
	}
	if !strings.HasPrefix(path, "/") {
		if want := naive(rules, host, path); rule != want {
			t.Fatalf("%v: %q %q leads to %d, not to %d", rules, host, target, rule, want)
		}
		return true
	}
	seen := map[string]bool{}
	for _, r := range readers {
		read := r.reads(path)
		if seen[read] {
			continue
		}
		seen[read] = true
		if want := naive(rules, host, read); rule != want {
			t.Fatalf("%v: %q %q leads to %d, but to %d for %+v, who reads %q", rules, host, target, rule, want, r, read)
		}
	}
	if rule != none {
		stands := decodeOnce(target[:covered], plain)
		rest := target[covered:]
		if stands != strings.TrimSuffix(rules[rule].Path, "/") || rest != "" && rest[0] != '/' && rest[0] != '?' {
			t.Fatalf("%q: %q is to stand for %q", target, target[:covered], rules[rule].Path)
		}
	}
	return true
}

func pick(random *rand.Rand, from ...string) string { return from[random.IntN(len(from))] }

func randomHost(random *rand.Rand) string {
	return pick(random, "", "h", "a.h", "*.h", "*.a.h", "b.a.h")
}

func randomRules(t *testing.T, random *rand.Rand) ([]Rule, *Table) {
	var rules []Rule
	for range 1 + random.IntN(8) {
		r := Rule{Host: randomHost(random)}
		for range random.IntN(4) {
			r.Path += "/" + pick(random, "a", "b", "ab", "@")
		}
		if random.IntN(3) == 0 {
			r.Path += "/"
		}
		if !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	table, err := New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return rules, table
}

// Whatever a target is made of: it is refused, or no server is led astray.
func TestNoServerReadsAnotherRulesPath(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	clear, odd := 0, 0
	for range 200 {
		rules, table := randomRules(t, random)
		for range 30 {
			target := "/"
			for range random.IntN(8) {
				target += pick(random, "/", "/", "/", "/", "a", "a", "b", "@", "%61", "%2561", "%25%36%31", "%2F", "%252f", `\`, "%5C",
					";", ";x", "%3B", "%3F", "%23", "?", "%40", "%20", ".", "%2e", "%25", "2", "\xe9", "%C3%A9", "%00", "%")
			}
			if hold(t, rules, table, strings.ReplaceAll(randomHost(random), "*", "x"), target) {
				clear++
				if strings.ContainsAny(target, `%\;`) || strings.Contains(target, "//") {
					odd++
				}
			}
		}
	}
	if clear < 1500 || odd < 1000 {
		t.Errorf("of 6000, %d were clear, and %d of these odd: too few to show anything", clear, odd)
	}
}

// No plain path is ever refused.
func TestPlainPathsAreFoundForAll(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		rules, table := randomRules(t, random)
		for range 30 {
			target := "/"
			for i := range random.IntN(6) {
				if i > 0 {
					target += "/"
				}
				target += pick(random, "a", "b", "ab", "@", "%61", "c%20d", "caf%C3%A9", "a..b", ".a", "a.", "100%25")
			}
			if target += pick(random, "", "/", "?../a", "?%zz"); target == "//" {
				continue
			}
			if !hold(t, rules, table, "a.h", target) {
				t.Fatalf("%v: %q is refused", rules, target)
			}
		}
	}
}

func FuzzFind(f *testing.F) {
	for i, target := range []string{
		"/a/b?c", "*", "", "/%61/@", "//a", "/a;b/c", "/a%2Fb", `/\a`, "/%2561", "/%25%36%31", "/x/;%2Fa", "/a/%3F/b", "/..;/a", "/%", "/%00",
	} {
		f.Add(uint64(i), "a.h", target)
		f.Add(uint64(i), "[::1]:80", target)
	}
	f.Fuzz(func(t *testing.T, seed uint64, host, target string) {
		rules, table := randomRules(t, rand.New(rand.NewPCG(seed, 0)))
		if strings.ContainsAny(host, ":.[") || len(host) > maxHost {
			table.Find([]byte(host), []byte(target))
			host = "b.a.h"
		}
		for _, c := range host {
			if c >= 0x80 {
				return // strings.ToLower knows more letters
			}
		}
		hold(t, rules, table, host, target)
	})
}
