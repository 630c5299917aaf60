package httpproxy

import (
	"fmt"
	"strings"
	"testing"
)

func TestFieldsOfRequestsAreEdited(t *testing.T) {
	const own = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n"
	for name, c := range map[string]struct {
		e            Edits
		fields, want string
	}{
		"none":              {Edits{}, "A: b\r\n", "A: b\r\n" + own},
		"remove":            {Edits{Remove: []string{"x-A", "missing"}}, "X-a: 1\r\nB: 2\r\nX-A: 3\r\nX_A: 4\r\nX-AB: 5\r\nX-_: 6\r\n", "B: 2\r\nX-AB: 5\r\nX-_: 6\r\n" + own},
		"set":               {Edits{Set: []Field{{"x-User", "me"}}}, "X-USER: you\r\nB: 2\r\nx_user: you\r\n", "B: 2\r\n" + own + "x-User: me\r\n"},
		"set to nothing":    {Edits{Set: []Field{{"A", ""}}}, "a: 1\r\n", own + "A: \r\n"},
		"set twice":         {Edits{Set: []Field{{"A", "1"}, {"B", "2"}, {"a", "3"}}}, "", own + "B: 2\r\na: 3\r\n"},
		"add":               {Edits{Add: []Field{{"A", "2"}, {"A", "3"}}}, "a: 1\r\n", "a: 1\r\n" + own + "A: 2\r\nA: 3\r\n"},
		"in their order":    {Edits{Add: []Field{{"A", "3"}}, Set: []Field{{"A", "2"}}, Remove: []string{"A"}}, "A: 1\r\n", own + "A: 2\r\nA: 3\r\n"},
		"with a line below": {Edits{Remove: []string{"X_A"}}, "X_A: 1\r\nX-A: 2\r\n", "X-A: 2\r\n" + own},
		"what the proxy writes": {Edits{Remove: []string{"x-forwarded-for", "X-Forwarded-Host"}, Set: []Field{{"X-Forwarded-Proto", "https"}}}, "",
			"X-Forwarded-Proto: https\r\n"},
		"besides what the proxy writes": {Edits{Add: []Field{{"X-Forwarded-For", "me"}}}, "", own + "X-Forwarded-For: me\r\n"},
		"not by the client":             {Edits{Set: []Field{{"X-User", "me"}}}, "X-User: you\r\nConnection: X-User\r\n", own + "X-User: me\r\n"},
		"before the connection's": {Edits{Add: []Field{{"A", "1"}}}, "TE: trailers\r\nConnection: te, upgrade\r\nUpgrade: websocket\r\n",
			own + "A: 1\r\nTE: trailers\r\nUpgrade: websocket\r\nConnection: TE, Upgrade\r\n"},
	} {
		t.Run(name, func(t *testing.T) { goesOn(t, onward{client: four, edits: c.e.compile()}, c.fields, c.want) })
	}
}

func TestContinuedClaimsAreEdited(t *testing.T) {
	e := (&Edits{Remove: []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Prefix"}, Set: []Field{{"X-Forwarded-Host", "public"}}}).compile()
	r := parsedRequest(t, "GET /a/b HTTP/1.1\r\nHost: h\r\n"+allKinds+"\r\n")
	const want = "GET /b HTTP/1.1\r\nHost: h\r\nA: b\r\nx-forwarded-proto: https\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 1.1.1.1\r\nC: d\r\nX-Forwarded-Host: public\r\n\r\n"
	if got := string(r.append(nil, &onward{client: four, claims: true, covered: 2, edits: e})); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestFieldsOfAnswersAreEdited(t *testing.T) {
	e := (&Edits{Remove: []string{"server", "X-Forwarded-For"}, Set: []Field{{"Strict-Transport-Security", "max-age=1"}}, Add: []Field{{"Set-Cookie", "s=1"}}}).compile()
	const raw = "HTTP/1.1 %s\r\nSERVER: s\r\nSet-Cookie: a=1\r\nX-Forwarded-For: x\r\nstrict-transport-security: max-age=9\r\nHost: odd\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n"
	a := &answer{}
	if err := a.parse(newParser(16<<10, 256), fmt.Appendf(nil, raw, "200 OK")); err != nil {
		t.Fatal(err)
	}
	const want = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nHost: odd\r\nStrict-Transport-Security: max-age=1\r\nSet-Cookie: s=1\r\nConnection: close\r\nTrailer: T\r\nTransfer-Encoding: chunked\r\n\r\n"
	if got := string(a.appendFinal(nil, "close", a.length, true, e)); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What a message depends on is not to be edited, nor does anything get into a head
// that is not a field.
func TestEditsThatCannotBeMadeAreIgnored(t *testing.T) {
	names := []string{"", " ", "A:", "A B", "A\r\nB", "\xff", "Host", "host", "Expect", "Connection", "Keep-Alive", "Proxy-Connection", "TE",
		"Trailer", "Transfer-Encoding", "CONTENT-LENGTH", "Upgrade"}
	e := Edits{Remove: names}
	for _, name := range names {
		e.Set, e.Add = append(e.Set, Field{name, "1"}), append(e.Add, Field{name, "1"})
	}
	for _, value := range []string{"1\r\nB: 2", "\n", "\x00", "\x7f"} {
		e.Set, e.Add = append(e.Set, Field{"A", value}), append(e.Add, Field{"A", value})
	}
	if c := e.compile(); c != nil {
		t.Errorf("there are %q, %q left", c.dropped, c.tail)
	}
	if (*Edits)(nil).compile() != nil {
		t.Error("something is left of nothing")
	}
}

// As many as there can be cost little, whatever comes.
func TestManyEditsOfManyFields(t *testing.T) {
	var e Edits
	var fields strings.Builder
	for i := range 64 {
		e.Remove = append(e.Remove, fmt.Sprintf("X-Name-%02d", i))
	}
	for i := range 255 {
		fmt.Fprintf(&fields, "x-name-%02d: 1\r\n", i)
	}
	var want strings.Builder
	for i := 64; i < 255; i++ {
		fmt.Fprintf(&want, "x-name-%02d: 1\r\n", i)
	}
	goesOn(t, onward{off: true, edits: e.compile()}, fields.String(), want.String())
}
