package e2e_test

import (
	"fmt"
	"strings"
)

const (
	coded    = "Transfer-Encoding: chunked"
	smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
)

// chunkBytes has odd bytes everywhere around the payload of chunks, behind a head.
func chunkBytes(head string, good, bad outcome) (all []attack) {
	never, text := always(bad), when(isText, good, bad)
	semicolon := when(func(o string) bool { return o == ";" }, good, bad)
	for _, place := range []struct {
		name, body string
		want       func(string) outcome
	}{
		{"before a size", "~5\r\nhello\r\n0\r\n\r\n", never},
		{"in a size", "0~5\r\nhello\r\n0\r\n\r\n", never},
		{"behind a size", "5~\r\nhello\r\n0\r\n\r\n", semicolon},
		{"instead of a size", "~\r\nhello\r\n0\r\n\r\n", never},
		{"in an extension", "5;a~b\r\nhello\r\n0\r\n\r\n", text},
		{"in an extension's value", "5;a=\"~\"\r\nhello\r\n0\r\n\r\n", text},
		{"behind an extension", "5;a=b~\r\nhello\r\n0\r\n\r\n", text},
		{"in the last chunk's extension", "5\r\nhello\r\n0;a~\r\n\r\n", text},
		{"behind a payload", "5\r\nhello~\r\n0\r\n\r\n", never},
		{"instead of CRLF behind a payload", "5\r\nhello~0\r\n\r\n", never},
		{"instead of CRLF behind a size", "5~hello\r\n0\r\n\r\n0\r\n\r\n", never},
		{"before the last size", "5\r\nhello\r\n~0\r\n\r\n", never},
		{"behind the last size", "5\r\nhello\r\n0~\r\n\r\n", semicolon},
		{"before the last line", "5\r\nhello\r\n0\r\n~\r\n", never},
		{"before a trailer's name", "5\r\nhello\r\n0\r\n~A: b\r\n\r\n", never},
		{"in a trailer's name", "5\r\nhello\r\n0\r\nA~B: c\r\n\r\n", never},
		{"before a trailer's colon", "5\r\nhello\r\n0\r\nA~: c\r\n\r\n", never},
		{"in a trailer's value", "5\r\nhello\r\n0\r\nA: b~c\r\n\r\n", text},
	} {
		all = append(all, everywhere(place.name, head+place.body, place.want)...)
	}
	return all
}

// badSizes are sizes of chunks that are read as different numbers.
var badSizes = []string{"", "g", "x", "h5", "5h", "0x5", "0X5", "x5", "\\x5", "+5", "-5", "- 5", "-0", "+0", " 5", "5 ", "\t5", "5\t", "5 ;a", " ;a", ";a", ";", "5.", "5.0", ".5", "5,5", "5,", ",5", "5e+0", "5_", "_5", "0_5", "5'", "\"5\"", "(5)", "5%", "%35", "$5", "#5", "5:", "=5", "5=a",
	"\u0665", "\uff15", "٥", "5\u00a0", "five", "0o5", "ffffffffffffffff", "fffffffffffffffb", "8000000000000000", "8000000000000005", "10000000000000000", "10000000000000005", "100000000000000000000005", "7fffffffffffffff", "00000000000000005", strings.Repeat("0", 300) + "5", "-1", "-ffffffffffffffff",
	"0000000000000000", "5\n", "5\r", "5\x00", "5\v", "5\f", "5;\n", "5;a\n", "5;a\r\r", "5;a\x00", "5;" + strings.Repeat("a", 300), "4", "6", "GET /smuggled HTTP/1.1"}

// sizes are chunks of five bytes by their size.
func sizes() (all []attack) {
	for _, size := range badSizes {
		all = append(all, attack{fmt.Sprintf("%.40q", size), post(coded) + size + "\r\nhello\r\n0\r\n\r\n", badBody})
	}
	all = append(all, attack{"more than comes", post(coded) + fmt.Sprintf("%x\r\n", len(marker)+1), unfinished})
	for _, size := range []string{"5", "05", "005", "000000000000005", "5;", "5;a", "5;a=b", "5;a=\"b;c\"", "5;a=\"b", "5;;", "5;a;b;c=d", "5; a = b", "5;\t", "5;a=\"\\\"\"", "5;5", "5;\xff", "5;ffff", "5;" + strings.Repeat("a", 200)} {
		all = append(all, attack{fmt.Sprintf("%.40q is 5", size), post(coded) + size + "\r\nhello\r\n0\r\n\r\n", served("POST /a", "hello")})
	}
	for _, size := range []string{"a", "A", "0a", "0A;A"} {
		all = append(all, attack{fmt.Sprintf("%q is 10", size), post(coded) + size + "\r\n0123456789\r\n0\r\n\r\n", served("POST /a", "0123456789")})
	}
	return all
}

// badChunks are bodies whose end some find earlier or later than others.
var badChunks = map[string]string{
	"LF behind a size": "5\nhello\r\n0\r\n\r\n", "CR behind a size": "5\rhello\r\n0\r\n\r\n", "LF behind a payload": "5\r\nhello\n0\r\n\r\n", "CR behind a payload": "5\r\nhello\r0\r\n\r\n", "nothing behind a payload": "5\r\nhello0\r\n\r\n", "LF CR behind a payload": "5\r\nhello\n\r0\r\n\r\n",
	"LF behind the last size": "5\r\nhello\r\n0\n\r\n" + smuggled, "LF at the end": "5\r\nhello\r\n0\r\n\n" + smuggled, "CR at the end": "5\r\nhello\r\n0\r\n\r" + smuggled, "LF LF at the end": "5\r\nhello\r\n0\n\n" + smuggled, "all with LF": "5\nhello\n0\n\n" + smuggled, "all with CR": "5\rhello\r0\r\r" + smuggled,
	"another CRLF behind a payload": "5\r\nhello\r\n\r\n0\r\n\r\n", "CRLF first": "\r\n5\r\nhello\r\n0\r\n\r\n", "no last line": "5\r\nhello\r\n0\r\n" + smuggled, "no last chunk": "5\r\nhello\r\n" + smuggled, "a request as an extension, by LF": "5;\n" + smuggled, "a size in an extension, by LF": "2;\n3\r\nab\r\n0\r\n\r\n",
	"a size in an extension, by CR": "2;\r3\r\nab\r\n0\r\n\r\n", "the payload's end by any two bytes": "5\r\nhelloXX0\r\n\r\n", "a chunk's end for a size": "3\r\nab\r\n0\r\n\r\n", "a negative size": "-3\r\nabc\r\n0\r\n\r\n", "a length, not a size": "hello", "a request, not a size": smuggled, "JSON": "{\"a\": 1}",
	"a last chunk of blanks": "5\r\nhello\r\n \r\n\r\n", "a last chunk of no digits": "5\r\nhello\r\n\r\n\r\n", "NUL for a size": "5\r\nhello\r\n\x00\r\n\r\n", "an overflowing last size": "5\r\nhello\r\n10000000000000000\r\n\r\n", "a last size in letters": "5\r\nhello\r\nzero\r\n\r\n",
	"trailer cut by LF": "0\r\nA: b\n\r\n" + smuggled, "endless extension": "5;" + strings.Repeat("a=b;", 5000), "endless zeros": strings.Repeat("0", 20000),
}

// chunks are bodies of any number of chunks.
func chunks() (all []attack) {
	for name, body := range badChunks {
		all = append(all, attack{name, post(coded) + body, badBody})
	}
	many := strings.Repeat("1\r\na\r\n", 300)
	for name, c := range map[string]struct{ body, want string }{
		"empty": {"0\r\n\r\n", ""}, "a last chunk in the payload": {"5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"}, "a request in the payload": {fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled), smuggled}, "sizes in the payload": {"8\r\n5\r\nhello\r\n0\r\n\r\n", "5\r\nhello"},
		"single bytes": {many + "0\r\n\r\n", strings.Repeat("a", 300)}, "CRLF in chunks of one": {"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", "\r\n"}, "zeros for the last": {"5\r\nhello\r\n00000\r\n\r\n", "hello"}, "an extension of the last": {"5\r\nhello\r\n0;a=b\r\n\r\n", "hello"},
	} {
		all = append(all, attack{name, post(coded) + c.body, served("POST /a", c.want)})
	}
	for name, body := range map[string]string{"nothing": "", "a size": "5", "a size and CR": "5\r", "a part": "ff\r\nhello", "no last size": "5\r\nhello\r\n", "no last line": "5\r\nhello\r\n0\r\n", "half a last line": "5\r\nhello\r\n0\r\n\r", "half a trailer": "0\r\nA: b"} {
		// The marker would go on with it: what the client ends here is a beginning.
		all = append(all, attack{"cut after " + name, post(coded) + body, outcome{begun: true, ends: true, alone: true}})
	}
	return all
}

// badTrailers are lines that are no fields, or too many.
var badTrailers = []string{"A", ":", ": b", " A: b", "\tA: b", "A : b", "A\t: b", "A b: c", "A\x00: b", "A: b\x00", "A: b\rC: d", "A: b\nC: d", "A: b\r", "\"A\": b", "GET /smuggled HTTP/1.1", "HTTP/1.1 200 OK", "0", "5", "A: b\r\n c", "A: b\r\n\tc", "\x00", " ", "\v",
	"A: " + strings.Repeat("b", 9000), strings.Repeat("A: b\r\n", 2000) + "A: b", strings.Repeat("A", 9000) + ": b"}

// trailers are fields behind a chunked body, which must not become a part of this
// request or of the next.
func trailers() (all []attack) {
	const body = "5\r\nhello\r\n0\r\n"
	for _, lines := range [][]string{{"Content-Length: 60"}, {"Transfer-Encoding: chunked"}, {"Transfer-Encoding: identity", "Content-Length: 5"}, {"Host: other"}, {"Connection: close"}, {"Connection: Host"}, {"Expect: 100-continue"}, {"X-Forwarded-For: 192.0.2.1"}, {"Upgrade: websocket"}, {"Authorization: x"},
		{"Trailer: Host"}, {"A: b", "C: d"}, {"A:"}, {"Content_Length: 5"}, {"Keep-Alive: timeout=1"}, {"A: GET /smuggled HTTP/1.1"}, {"A: " + strings.Repeat("b", 8000)}} {
		all = append(all, attack{fmt.Sprintf("dropped %.40q", lines), post("TE: trailers", "Connection: TE", "Trailer: A", coded) + more(body, lines), served("POST /a", "hello")})
	}
	for _, line := range badTrailers {
		all = append(all, attack{fmt.Sprintf("refused %.40q", line), post(coded) + body + line + "\r\n\r\n", badBody})
	}
	return all
}

// bodies are those where one program sees a body and another the next request:
// 0.CL, CL.0, methods that have none mostly, and what servers do by expectation.
func bodies() (all []attack) {
	length := fmt.Sprintf("Content-Length: %d", len(smuggled))
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)
	for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "get", "SEARCH", "LOCK"} {
		start := method + " /a HTTP/1.1\r\nHost: h\r\n"
		all = append(all,
			attack{method + " with a length", more(start, []string{length}) + smuggled, served(method+" /a", smuggled)},
			attack{method + " with chunks", more(start, []string{coded}) + chunk, served(method+" /a", smuggled)},
			attack{method + " with no body", more(start, nil), served(method+" /a", "")},
			attack{method + " with a length of 0", more(start, []string{"Content-Length: 0"}), served(method+" /a", "")})
	}
	for _, line := range []string{"Expect: 100-continue", "Expect: 100-Continue", "Expect:", "Expect: y 100-continue", "Expect: 100-continue, 100-continue", "Expect: 200-ok", "Expect: 100-continue\t", "X-HTTP-Method-Override: GET", "X-Method-Override: HEAD", "X-HTTP-Method: CONNECT", "Content-Encoding: chunked", "Content-Encoding: gzip",
		"Content-Type: message/http", "Content-Range: bytes 0-0/1", "Range: bytes=0-", "TE: chunked", "TE: trailers, chunked", "TE: gzip;q=0", "Accept-Encoding: chunked", "X-Transfer-Encoding: chunked", "X-Content-Length: 0", "Trailer: A", "Content-MD5: x", "Via: 1.0 x", "Max-Forwards: 0", "Keep-Alive: timeout=0, max=0", "Proxy-Connection: close",
		"Upgrade: h2c", "Upgrade: websocket", "Upgrade: HTTP/2.0", "Upgrade: TLS/1.0", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "Sec-WebSocket-Key: x"} {
		all = append(all,
			attack{line + ", length", post(line, length) + smuggled, served("POST /a", smuggled)},
			attack{line + ", chunks", post(line, coded) + chunk, served("POST /a", smuggled)},
			attack{line + ", no body", get(line), served("GET /a", "")})
	}
	return append(all,
		attack{"a trailer that would frame", post("Trailer: Content-Length", coded) + chunk, badHead},
		attack{"a trailer that would code", post("Trailer: Transfer-Encoding", coded) + chunk, badHead},
		attack{"an empty line behind a body", post("Content-Length: 5") + "hello\r\n", served("POST /a", "hello")},
		attack{"two empty lines behind a body", post("Content-Length: 5") + "hello\r\n\r\n", outcome{requests: served("POST /a", "hello").requests, status: 400}},
		attack{"a byte behind a body", post("Content-Length: 4") + "hello", served2("POST /a", "hell", "oGET /marker", "")},
		attack{"LF behind a body", post("Content-Length: 5") + "hello\n", outcome{requests: served("POST /a", "hello").requests, status: 400}},
		attack{"a line behind a body", post("Content-Length: 5") + "hello\r\nX", served2("POST /a", "hello", "XGET /marker", "")},
		attack{"chunks behind no body", post("Content-Length: 0") + "0\r\n\r\n", outcome{requests: served("POST /a", "").requests, status: 400}},
		attack{"chunks behind none announced", post() + "5\r\nhello\r\n0\r\n\r\n", outcome{requests: served("POST /a", "").requests, status: 400}},
		attack{"a body behind none announced", post() + "hello\r\n", outcome{requests: served("POST /a", "").requests, status: 400}},
		attack{"a length of all but a byte", post(fmt.Sprintf("Content-Length: %d", len(smuggled)-1)) + smuggled, outcome{requests: served("POST /a", smuggled[:len(smuggled)-1]).requests, status: 400}},
	)
}

// served2: the server sees these two requests, of which the second is the marker
// with something before it.
func served2(line1, body1, line2, body2 string) outcome {
	o := servedLast(line1, body1)
	o.requests = append(o.requests, served(line2, body2).requests...)
	return o
}

// connectionOptions name fields in Connection that have to be there, or that frame.
func connectionOptions() (all []attack) {
	const body = "hello"
	for _, option := range []string{"Content-Length", "content-length", "Host", "Transfer-Encoding", "Content-Length, Host, Transfer-Encoding", "Cookie", "X-Forwarded-For", "Authorization", "Connection", "keep-alive, Content-Length", "TE", "Upgrade", "Trailer", "Expect", "Date", ",", ", ,", "", "x", "*", "\"close\"", "closed", "clos", "close;x", "@#$", "a b", "\xff", "Keep-Alive", "proxy-connection", "HTTP2-Settings"} {
		all = append(all,
			attack{fmt.Sprintf("%q and a length", option), post("Connection: "+option, "Content-Length: 5") + body, served("POST /a", body)},
			attack{fmt.Sprintf("%q behind chunks", option), post(coded, "Connection: "+option) + "5\r\nhello\r\n0\r\n\r\n", served("POST /a", body)})
	}
	for _, lines := range [][]string{{"Connection: close"}, {"Connection: Close"}, {"Connection: keep-alive, close"}, {"Connection: close, keep-alive"}, {"Connection: x", "Connection: close"}, {"Connection: close", "Connection: keep-alive"}, {"Connection:\tclose\t"}, {"Connection: ,close,"}, {"Connection: close, close"}, {"connection: Host, CLOSE"}} {
		all = append(all, attack{fmt.Sprintf("closed %q", lines), get(lines...), servedLast("GET /a", "")})
	}
	all = append(all,
		attack{"17 options", get("Connection: " + strings.Repeat("a,", 16) + "a"), badHead},
		attack{"17 options in fields", get(strings.Split(strings.Repeat("Connection: a\n", 16)+"Connection: a", "\n")...), badHead},
		attack{"h2c", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), served("GET /a", "")},
		attack{"h2c in capitals", get("Connection: upgrade", "Upgrade: H2C"), served("GET /a", "")},
		attack{"h2c in a list", get("Connection: Upgrade", "Upgrade: websocket, h2c"), served("GET /a", "")},
		attack{"h2c with a version", get("Connection: Upgrade", "Upgrade: h2c/1"), served("GET /a", "")},
		attack{"h2c with a body", post("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 5") + body, served("POST /a", body)},
		attack{"h2c and websocket", get("Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"), badHead},
		attack{"an upgrade that the server does not take", get("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 777", "Sec-WebSocket-Key: x"), served("GET /a", "")},
		attack{"an upgrade with a body", post("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5") + body, served("POST /a", body)},
		attack{"an upgrade of HTTP/1.0", "GET /a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", served("GET /a", "")},
	)
	return all
}
