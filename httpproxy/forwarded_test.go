package httpproxy

import (
	"net/netip"
	"strings"
	"testing"
)

func parsedRequest(t testing.TB, raw string) *request {
	t.Helper()
	r := &request{}
	if err := r.parse(newParser(16<<10, 256), []byte(raw)); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return r
}

// goesOn checks what becomes of a request for "/" with Host: h and some fields more.
func goesOn(t *testing.T, o onward, fields, want string) {
	t.Helper()
	o.serverHost = "server:1"
	r := parsedRequest(t, "GET / HTTP/1.1\r\nHost: h\r\n"+fields+"\r\n")
	want = "GET / HTTP/1.1\r\nHost: h\r\n" + want + "\r\n"
	if got := string(r.append(nil, &o)); got != want {
		t.Errorf("%q\ngot  %q\nwant %q", fields, got, want)
	}
}

var (
	four     = netip.MustParseAddrPort("192.0.2.1:5")
	six      = netip.MustParseAddrPort("[2001:db8::1]:5")
	allKinds = "A: b\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: one\r\nx-forwarded-proto: https\r\nX-Forwarded-Prefix: /p\r\nX-Forwarded-Port: 1\r\n" +
		"Forwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nX_Forwarded_For: 3.3.3.3\r\nx-Forwarded_Proto: x\r\nX-Real_IP: 3.3.3.3\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\nC: d\r\n"
)

func TestClaimsAreReplaced(t *testing.T) {
	goesOn(t, onward{client: four}, allKinds,
		"A: b\r\nC: d\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n")
	goesOn(t, onward{client: six}, "", "X-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n")
	goesOn(t, onward{client: netip.MustParseAddrPort("[::ffff:192.0.2.1]:5")}, "",
		"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n")
	goesOn(t, onward{client: netip.MustParseAddrPort("[fe80::1%eth0]:5")}, "",
		"X-Forwarded-For: fe80::1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n")
	goesOn(t, onward{}, allKinds, "A: b\r\nC: d\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n")
}

func TestClaimsAreLeftAlone(t *testing.T) {
	goesOn(t, onward{client: four, off: true}, allKinds, allKinds)
	goesOn(t, onward{client: four, off: true}, "", "")
}

func TestClaimsAreContinued(t *testing.T) {
	const own = "X-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n"
	goesOn(t, onward{client: four, claims: true}, allKinds,
		"A: b\r\nX-Forwarded-Host: one\r\nx-forwarded-proto: https\r\nX-Forwarded-Prefix: /p\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 1.1.1.1\r\nC: d\r\n"+
			"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.1\r\nForwarded: for=1.1.1.1, for=192.0.2.1;host=h;proto=http\r\n")
	for name, c := range map[string]struct {
		client       netip.AddrPort
		fields, want string
	}{
		"nothing is claimed":   {four, "", "X-Forwarded-For: 192.0.2.1\r\n" + own},
		"nothing is known":     {netip.AddrPort{}, "", own},
		"empty ones":           {four, "X-Forwarded-For:\r\nX-Forwarded-For: a\r\nX-Forwarded-For: \r\nForwarded:\r\n", "X-Forwarded-For: a, 192.0.2.1\r\n" + own + "Forwarded: for=192.0.2.1;host=h;proto=http\r\n"},
		"by IPv6":              {six, "Forwarded: for=a\r\nForwarded: for=b;by=c, for=d\r\n", "X-Forwarded-For: 2001:db8::1\r\n" + own + "Forwarded: for=a, for=b;by=c, for=d, for=\"[2001:db8::1]\";host=h;proto=http\r\n"},
		"by somebody":          {netip.AddrPort{}, "X-Forwarded-For: a\r\nForwarded: for=a\r\n", "X-Forwarded-For: a\r\n" + own + "Forwarded: for=a, for=unknown;host=h;proto=http\r\n"},
		"an open quotation":    {four, "Forwarded: for=\"a\r\nForwarded: for=\"b\\\"\r\nForwarded: for=\"c\\\"\"\r\n", "X-Forwarded-For: 192.0.2.1\r\n" + own + "Forwarded: for=\"c\\\"\", for=192.0.2.1;host=h;proto=http\r\n"},
		"named by Connection":  {four, "X-Forwarded-For: a\r\nX-Forwarded-Host: b\r\nForwarded: for=c\r\nConnection: x-forwarded-for, x-forwarded-host, forwarded\r\n", "X-Forwarded-For: 192.0.2.1\r\n" + own},
		"Connection has a say": {four, "X-Forwarded-For: a\r\nA: b\r\nConnection: a\r\n", "X-Forwarded-For: a, 192.0.2.1\r\n" + own},
	} {
		t.Run(name, func(t *testing.T) { goesOn(t, onward{client: c.client, claims: true}, c.fields, c.want) })
	}
}

// Where the request goes and what it is for, without losing what was asked.
func TestTargetAndHostAreRewritten(t *testing.T) {
	for name, c := range map[string]struct {
		o         onward
		raw, want string
	}{
		"Host": {onward{host: "other:8080"},
			"GET /a HTTP/1.1\r\nA: b\r\nhOST: H:80\r\nC: d\r\n\r\n",
			"GET /a HTTP/1.1\r\nA: b\r\nhOST: other:8080\r\nC: d\r\nX-Forwarded-Host: H:80\r\nX-Forwarded-Proto: http\r\n\r\n"},
		"Host, named by Connection": {onward{host: "other"},
			"GET /a HTTP/1.1\r\nHost: h\r\nConnection: host\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: other\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n\r\n"},
		"Host that is told by others": {onward{host: "other", claims: true},
			"GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: asked\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: other\r\nX-Forwarded-Host: asked\r\nX-Forwarded-Proto: http\r\n\r\n"},
		"Host in Forwarded": {onward{claims: true, host: "other"},
			"GET /a HTTP/1.1\r\nHost: h:8080\r\nForwarded: a=b\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: other\r\nX-Forwarded-Host: h:8080\r\nX-Forwarded-Proto: http\r\nForwarded: a=b, for=unknown;host=\"h:8080\";proto=http\r\n\r\n"},
		"no Host": {onward{host: "other"}, "GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: other\r\nX-Forwarded-Proto: http\r\n\r\n"},
		"no Host, none given": {onward{claims: true}, "GET /a HTTP/1.0\r\nForwarded: a=b\r\nExpect: 100-continue\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: server:1\r\nX-Forwarded-Proto: http\r\nForwarded: a=b, for=unknown;proto=http\r\n\r\n"},
		"a part of the target": {onward{covered: len("/api")},
			"GET /api/users?q=/api HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /evil\r\n\r\n",
			"GET /users?q=/api HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /api\r\n\r\n"},
		"the slash behind it": {onward{covered: len("/api/")},
			"GET /api/users HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /users HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /api\r\n\r\n"},
		"all of the path": {onward{covered: len("/api")},
			"GET /api?q HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /?q HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /api\r\n\r\n"},
		"all of the target": {onward{covered: len("/api")},
			"GET http://h/api HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /api\r\n\r\n"},
		"nothing but a slash": {onward{covered: 1},
			"GET /api HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /api HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n\r\n"},
		"more than there is": {onward{covered: 100},
			"GET /api HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /api\r\n\r\n"},
		"a part behind what others took": {onward{covered: len("/b"), claims: true},
			"GET /b/c HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /x\r\nX-Forwarded-Prefix: /a/\r\n\r\n",
			"GET /c HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /x, /a/b\r\n\r\n"},
		"a part, silently": {onward{covered: len("/b"), off: true},
			"GET /b/c HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /a\r\n\r\n",
			"GET /c HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /a\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.serverHost = "server:1"
			if got := string(parsedRequest(t, c.raw).append(nil, &c.o)); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// A Host that is no token cannot leave its quotation.
func TestWordsAreQuoted(t *testing.T) {
	for word, want := range map[string]string{"h": "h", "h:80": `"h:80"`, "[::1]": `"[::1]"`, `a"b\`: `"a\"b\\"`, "": `""`} {
		if got := string(appendWord(nil, []byte(word))); got != want {
			t.Errorf("%q became %s, not %s", word, got, want)
		}
	}
}

// Nothing that is done to a request on its way needs memory.
func TestRewritingCostsNoMemory(t *testing.T) {
	e := (&Edits{Set: []Field{{"A", "x"}}, Remove: []string{"B", "X-Forwarded-Proto"}}).compile()
	r := parsedRequest(t, "GET /api/x HTTP/1.1\r\nHost: h:80\r\nA: b\r\nB: c\r\n"+strings.Replace(allKinds, "A: b", "D: e", 1)+"\r\n")
	out := make([]byte, 0, 4<<10)
	for _, o := range []onward{{client: four}, {client: six, claims: true, host: "other", covered: 4, edits: e}, {off: true, edits: e}} {
		if n := testing.AllocsPerRun(100, func() { out = r.append(out[:0], &o) }); n > 0 {
			t.Errorf("%v allocations with %+v", n, o)
		}
	}
}
