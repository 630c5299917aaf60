package state

import (
	"strings"
	"testing"
)

// withMembers returns a file of one record, on its fourth line.
func withMembers(members string) string {
	return "{\n  \"version\": 1,\n  \"servers\": [\n    {" + members + "}\n  ]\n}\n"
}

func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	const good = `"pool": "web", "server": "a:1", "source": "config"`
	for _, c := range []struct{ text, want string }{
		{" ", "1:1: not valid JSON: unexpected end of JSON input"},
		{"null", "1:1: found null; use an object"},
		{"[]", "1:1: found [; use an object"},
		{"{}", "1:1: version is missing; use 1"},
		{`{"version": 2, "balancers": []}`, "1:13: version: 2 is not known, only 1; another release of fulcrum may have written it"},
		{`{"version": "1"}`, `1:13: version: found "1"; use a whole number`},
		{`{"version": 1.0}`, `1:13: version: found 1.0; use a whole number`},
		{`{"version": 1, "version": 1}`, `1:16: the key "version" is given more than once; keep one of them`},
		{`{"version": 1, "Servers": []}`, `1:16: the key "Servers" is not known; allowed are version, servers`},
		{`{"version": 1, "servers": {}}`, "1:27: servers: found {; use an array"},
		{`{"version": 1, "servers": []} x`, "1:31: not valid JSON: invalid character 'x' after top-level value"},
		{`{"version": 1, "servers": [1]}`, "1:28: servers[0]: found 1; use an object"},
		{withMembers(good + ",\n\"weihgt\": 2"), `5:1: servers[0]: the key "weihgt" is not known; allowed are pool, server, source, weight, max_connections, deleted, draining`},
		{withMembers(good + `, "weight": 2, "weight": 2`), `4:71: servers[0]: the key "weight" is given more than once; keep one of them`},
		{withMembers(good + `, "weight": 0`), "4:68: servers[0]: weight: 0 is not allowed; use a whole number from 1 to 256"},
		{withMembers(good + `, "weight": 1e2`), "4:68: servers[0]: weight: found 1e2; use a whole number"},
		{withMembers(good + `, "max_connections": -1`), "4:77: servers[0]: max_connections: -1 is not allowed; use a whole number from 0 to 1000000"},
		{withMembers(good + `, "draining": "yes"`), `4:70: servers[0]: draining: found "yes"; use true or false`},
		{withMembers(good + `, "draining": null`), `4:70: servers[0]: draining: found null; use true or false`},
		{withMembers(good + `, "deleted": true, "draining": true`), "4:5: servers[0]: deleted: a server that is deleted has no weight, max_connections and draining; remove them or deleted"},
		{withMembers(`"pool": "web", "server": "a:1", "source": "uploaded", "deleted": true`), "4:5: servers[0]: deleted: an uploaded server that is deleted has no record; remove this one"},
		{withMembers(`"pool": "web", "source": "config"`), "4:5: servers[0]: pool, server and source are required"},
		{withMembers(`"pool": "w b"`), `4:14: servers[0]: pool: "w b" is not allowed; use 1 to 64 of the characters A-Z a-z 0-9 _ . -`},
		{withMembers(`"source": "file"`), `4:16: servers[0]: source: "file" is not known; use "config" or "uploaded"`},
		{withMembers(`"server": "a"`), `4:16: servers[0]: server: "a" has no port`},
		{withMembers(`"server": ""`), `4:16: servers[0]: server: "" is not allowed; use 1 to 512 bytes of text that can be printed`},
		{withMembers("\"server\": \"a\xff:1\""), `4:16: servers[0]: server: "a` + "\ufffd" + `:1" is not allowed; use 1 to 512 bytes of text that can be printed`},
		{withMembers(good + "},\n    {" + `"pool": "web", "server": "A:1", "source": "uploaded"`), `5:5: servers[1]: server: "a:1" of pool "web" is recorded before; keep one of them`},
	} {
		s, err := parse([]byte(c.text), address)
		if err == nil || err.Error() != c.want || s != nil {
			t.Errorf("%s\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestWhatAnOperatorMayWriteByHand(t *testing.T) {
	s := parsed(t, `{"servers":[{"source":"uploaded","server":"A:1","draining":false,"pool":"web"}],"version":1}`)
	wantRecords(t, s, "a:1 source: uploaded, weight: 1, max_connections: 0")
	wantRecords(t, parsed(t, `{"version": 1}`))
}

// A file of which the end is missing is refused, wherever it was cut; only the line
// feed at its end may go.
func TestATruncatedFileIsRefused(t *testing.T) {
	whole := parsed(t, file(changed, deleted, drained, uploaded)).encode()
	for n := range len(whole) {
		s, err := parse(whole[:n], address)
		if n == len(whole)-1 {
			if err != nil || !s.equal(parsed(t, string(whole))) {
				t.Fatalf("without its line feed: %v", err)
			}
			continue
		}
		if err == nil {
			t.Fatalf("cut after %d bytes it was read as %s", n, s.encode())
		}
	}
}

// FuzzParse: nothing makes parse panic; what it accepts is written in one form, and
// read from that as the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(file(changed, deleted, drained, uploaded)))
	f.Add([]byte(file()))
	f.Add([]byte(`{"version":1,"servers":[{"pool":"w","server":"\ud800:1","source":"config","weight":1e9}]}`))
	f.Add([]byte(strings.Repeat(`{"version":`, 50)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parse(data, address)
		if err != nil {
			if s != nil || err.Error() == "" {
				t.Fatalf("refused with %q and %v", err, s)
			}
			return
		}
		again, err := parse(s.encode(), address)
		if err != nil || !again.equal(s) {
			t.Fatalf("%q is read as %v and, written anew, as %v: %v", data, s, again, err)
		}
	})
}
