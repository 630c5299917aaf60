package e2e_test

import (
	"fmt"
	"slices"
	"strings"
)

// startLineBytes has odd bytes everywhere in a request's first line.
func startLineBytes() (all []attack) {
	const rest = "Host: h\r\n\r\n"
	for _, place := range []struct{ name, template string }{
		{"before the method", "~GET /a HTTP/1.1\r\n"}, {"in the method", "G~ET /a HTTP/1.1\r\n"}, {"behind the method", "GET~ /a HTTP/1.1\r\n"},
		{"before the target", "GET ~/a HTTP/1.1\r\n"}, {"between target and version", "GET /a~HTTP/1.1\r\n"}, {"before the version", "GET /a ~HTTP/1.1\r\n"},
		{"in the version", "GET /a HTTP/1~.1\r\n"}, {"in the protocol", "GET /a HT~TP/1.1\r\n"}, {"behind the version", "GET /a HTTP/1.1~\r\n"},
	} {
		for _, a := range everywhere(place.name, place.template+rest, always(badHead)) {
			switch a.name {
			case `between target and version " "`, `before the target "/"`:
				continue // as it should be
			}
			all = append(all, a)
		}
	}
	for _, o := range odd {
		want := badHead
		if isVisible(o) {
			want = served("GET /a"+o+"b", "") // byte for byte: it is for the server to judge
		}
		all = append(all, attack{fmt.Sprintf("in the target %q", o), "GET /a" + o + "b HTTP/1.1\r\n" + rest, want})
	}
	return all
}

// startLines are lines of other protocols, other versions, and those where one
// program splits at the first blank and another at the last.
func startLines() (all []attack) {
	const rest = "\r\nHost: h\r\n\r\n"
	for _, line := range []string{"GET", "GET ", "GET /a", "GET /a ", "GET  /a", "GET /a HTTP/1.1 ", "GET /a  HTTP/1.1", " GET /a HTTP/1.1", "GET /a b HTTP/1.1", "GET /a HTTP/1.1 HTTP/1.1",
		"GET /a HTTP/1.1 HTTP/1.0", "GET /a HTTP/1.1, HTTP/1.0", "GET HTTP/1.1", "GET  HTTP/1.1", "/a HTTP/1.1", " /a HTTP/1.1", "GET /a HTTP/1.1 GET /b HTTP/1.1", "GET /a\tHTTP/1.1", "GET\t/a\tHTTP/1.1", "GET\t/a HTTP/1.1",
		"HTTP/1.1 200 OK", "HTTP/1.1 GET /a", "GET /a HTTP", "GET /a HTTP/", "GET /a HTTP/1", "GET /a HTTP/1.", "GET /a HTTP/.1", "GET /a HTTP/11", "GET /a HTTP/1.1.1", "GET /a HTTP/1.10", "GET /a HTTP/1.01", "GET /a HTTP/01.1",
		"GET /a HTTP/+1.1", "GET /a HTTP/1.-1", "GET /a HTTP/1,1", "GET /a HTTP/1:1", "GET /a HTTP/1 1", "GET /a HTTP/a.b", "GET /a HTTP/\u0661.1", "GET /a http/1.1", "GET /a Http/1.1", "GET /a HTTPS/1.1", "GET /a XHTTP/1.1",
		"GET /a HTTP/1.1x", "GET /a HTTP /1.1", "GET /a HTTP/ 1.1", "GET /a HTTP\\1.1", "GET /a SHTTP/1.1", "GET /a RTSP/1.0", "GET /a ICAP/1.0", "GET /a 1.1", "GET /a \"HTTP/1.1\"",
		"\"GET\" /a HTTP/1.1", "GET: /a HTTP/1.1", "GET, /a HTTP/1.1", "GÉT /a HTTP/1.1", "G(ET /a HTTP/1.1", "G@T /a HTTP/1.1", "[GET] /a HTTP/1.1", "GET/ /a HTTP/1.1", "GET{} /a HTTP/1.1", "GET;x /a HTTP/1.1", "GET=1 /a HTTP/1.1", "<GET> /a HTTP/1.1",
		"Host: h GET /a HTTP/1.1", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2", "SSH-2.0-x", "EHLO h", "*1", "{\"a\": 1}"} {
		all = append(all, attack{fmt.Sprintf("%q", line), line + rest, badHead})
	}
	for _, version := range []string{"0.0", "0.9", "1.2", "1.9", "2.0", "2.1", "3.0", "9.9"} {
		all = append(all, attack{"HTTP/" + version, "GET /a HTTP/" + version + rest, refused(505)})
	}
	// A method is any token, and its case tells.
	for _, method := range []string{"get", "Get", "X", "SMUGGLE", "PROPFIND", "HEAD", "TRACE", "DELETE", "CONNECTX", "G.E.T", "POSTGET", "!#$%&'*+-.^_`|~", "0", "PUT", "PATCH", "OPTIONS", strings.Repeat("M", 200)} {
		all = append(all, attack{"method " + method, method + " /a HTTP/1.1" + rest, served(method+" /a", "")})
	}
	return append(all,
		attack{"CONNECT", "CONNECT h:80 HTTP/1.1" + rest, refused(501)},
		attack{"CONNECT with a path", "CONNECT /a HTTP/1.1" + rest, refused(501)},
		attack{"HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refused(505)},
		attack{"HTTP/0.9", "GET /a\r\n", badHead},
		attack{"HTTP/0.9 alone", "GET /a\r\n\r\n", badHead},
		attack{"HTTP/1.0", "GET /a HTTP/1.0" + rest, servedLast("GET /a", "")},
		attack{"HTTP/1.0 kept alive", "GET /a HTTP/1.0\r\nConnection: keep-alive" + rest, served("GET /a", "")},
		attack{"HTTP/1.0 kept alive and closed", "GET /a HTTP/1.0\r\nConnection: keep-alive, close" + rest, servedLast("GET /a", "")},
		attack{"HTTP/1.0 with a length", "POST /a HTTP/1.0\r\nContent-Length: 5" + rest + "hello", servedLast("POST /a", "hello")},
		attack{"HTTP/1.0 without a length", "POST /a HTTP/1.0" + rest + "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", servedLast("POST /a", "")},
	)
}

// targets are those of which programs find another host or path in one than in
// another.
func targets() (all []attack) {
	const rest = " HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, t := range []string{"a", "a/b", "?", "?a", "#", "/#", "/a#b", "/a?b#c", "\\a", "./a", "../a", "h", "h:80", "h/a", "//", "*", "**", "*/a", "/*#", "%2fa", ";/a", "@h/a", ":80/a", "/a\x7f",
		"http:", "http:/", "http:/a", "http://", "http:///a", "http://h", "http://h?a", "http://h#a", "http://other/a", "http://h:80/a", "http://h./a", "http://h@other/a", "http://other@h/a", "http://h:x@h/a",
		"http://@h/a", "http://h/a#b", "http://h\\@other/a", "http:\\\\h\\a", "http:h/a", "http//h/a", "://h/a", "//h@/a\x01", "ftp://h/a", "file:///a", "javascript://h/a", "gopher://h/a", "ws://h/a", "httpx://h/a", "xhttp://h/a", "unix://h/a",
		"http://h%2e/a", "http://%68/a", "http://[h]/a", "http://h,other/a", "http://h other/a", "http://h\t/a", "http+http://h/a", "mailto:a@h", "urn:a:b", "http://h:/a", "http://\u212a/a", "http://h%00/a"} {
		want := badHead
		if t == "//" {
			want = served("GET //", "")
		}
		all = append(all, attack{fmt.Sprintf("%q", t), "GET " + t + rest, want})
	}
	// Byte for byte: who decodes or cleans up a path decides what it names.
	for _, t := range []string{"/", "//", "//other/a", "/a//b", "/./a", "/../a", "/a/../../b", "/%2e%2e/a", "/%2e%2e%2fa", "/a;/../b", "/..;/a", "/%00", "/a%0d%0aHost:%20other", "/%%", "/%", "/%zz", "/%c0%af", "/\\..\\a",
		"/a?http://other/", "/http://other/", "/@other", "/:80", "/?", "/??", "/a?b?c", "/a=b&c", "/\"<>|^`{}", "/\xff\xfe", "/\u212a", "/" + strings.Repeat("a", 8000), "/a?" + strings.Repeat("%41", 2000)} {
		all = append(all, attack{fmt.Sprintf("byte for byte %.40q", t), "GET " + t + rest, served("GET "+t, "")})
	}
	for _, t := range []string{"http://h/a", "HTTP://h/a", "https://h/a", "http://H/a"} {
		all = append(all, attack{t + " is /a", "GET " + t + rest, served("GET /a", "")})
	}
	return append(all,
		attack{"OPTIONS *", "OPTIONS *" + rest, served("OPTIONS *", "")},
		attack{"POST *", "POST *" + rest, badHead},
		attack{"options *", "options *" + rest, badHead},
		attack{"OPTIONS http://h", "OPTIONS http://h" + rest, badHead},
		attack{"absolute without Host", "GET http://h/a HTTP/1.1\r\n\r\n", badHead},
		attack{"absolute and two hosts", "GET http://h/a HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n", badHead},
		attack{"absolute of HTTP/1.0 without Host", "GET http://h/a HTTP/1.0\r\n\r\n", badHead},
		attack{"very long", "GET /" + strings.Repeat("a", 20000) + rest, refused(414)},
	)
}

// hosts are values of Host that name one host to who routes and another to who
// serves.
func hosts() (all []attack) {
	// RFC 3986 has some of the odd bytes in names.
	name := when(func(o string) bool { return strings.Contains(";(=", o) }, served("GET /a", ""), badHead)
	all = append(all, everywhere("within:", "GET /a HTTP/1.1\r\nHost: h~h\r\n\r\n", name)...)
	for _, a := range everywhere("in front:", "GET /a HTTP/1.1\r\nHost:~h\r\n\r\n", name) {
		if strings.HasSuffix(a.name, `" "`) || strings.HasSuffix(a.name, `"\t"`) {
			a.want = served("GET /a", "")
		}
		all = append(all, a)
	}
	for _, v := range []string{"", "h, other", "h,other", "h other", "h\tother", "h/a", "/h", "h\\other", "h@other", "user@h", "user:x@h", "@", "h:", ":80", ":", "h:80:80", "h:x", "h:80x", "h:-80", "h:+80", "h:8 0", "h :80", "h: 80", "http://h", "//h", "h?a", "h#a",
		"[", "]", "[]", "[::1", "::1", "::1]", "[::1]x", "[::1]:x", "[::1]80", "[h]", "[::1]@other", "x[::1]", "[::g]", "[:::]", "[1::2::3]", "[::1%]", "[::1%eth0 other]", "[::1% other]", "[::1%25@other]", "[::1%/a]", "[::1%,other]", "[::1%eth0]", "[1.2.3.4]", "h\"", "\"h\"", "<h>", "h|other", "h^", "h`", "{h}", "\u212a", "h\u3002other", "h\xff"} {
		want := badHead
		if v == "h:" { // RFC 3986, section 3.2.3: as if there were none
			want = served("GET /a", "")
		}
		all = append(all, attack{fmt.Sprintf("%q", v), "GET /a HTTP/1.1\r\nHost: " + v + "\r\n\r\n", want})
	}
	for name, fields := range map[string][]string{"none": nil, "two": {"Host: h", "Host: other"}, "two alike": {"Host: h", "Host: h"}, "two in other cases": {"HOST: h", "host: other"}, "two, one empty": {"Host: h", "Host:"},
		"empty first": {"Host:", "Host: h"}, "three": {"Host: h", "Host: h", "Host: h"}, "two apart": {"Host: h", "A: b", "C: d", "Host: other"}, "folded": {"Host: h", " other"}, "folded at once": {"Host:", " h"},
		"late colon": {"Host : h"}, "late colon and another": {"Host : other", "Host: h"}, "another and late colon": {"Host: h", "Host : other"}, "behind a blank": {" Host: h"}, "behind a blank and another": {" Host: other", "Host: h"}, "behind a tab": {"\tHost: other", "Host: h"},
		"only another's": {"X-Forwarded-Host: h"}, "with NUL": {"Host\x00: h"}, "with CR": {"Host: h", "A: b\rHost: other"}, "with LF": {"Host: h", "A: b\nHost: other"}, "in full width": {"\uff28ost: h"}} {
		all = append(all, attack{name, more("GET /a HTTP/1.1\r\n", fields), badHead})
	}
	for _, fields := range [][]string{{"hOsT: h"}, {"Host: h", "X-Forwarded-Host: other"}, {"Host: h", "X-Host: other"}, {"Host: h", "Forwarded: host=other"}, {"Host: h", "X-Forwarded_Host: other"}, {"Host: h", "Hostname: other"}, {"Connection: Host", "Host: h"}, {"Connection: host, close", "Host: h"}, {"Host: [::1]:80"}, {"Host: h:65536"}, {"Host: 127.1"}} {
		want := served("GET /a", "")
		want.last = strings.Contains(fields[0], "close")
		all = append(all, attack{fmt.Sprintf("served %q", fields), more("GET /a HTTP/1.1\r\n", fields), want})
	}
	return all
}

// lines are ends of lines and of heads that some programs take for such: bare LF,
// bare CR, folds, blanks, and lines that are no fields.
func lines() (all []attack) {
	for name, sent := range map[string]string{
		"LF only": "GET /a HTTP/1.1\nHost: h\n\n", "LF behind the first line": "GET /a HTTP/1.1\nHost: h\r\n\r\n", "LF behind a field": "GET /a HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", "LF LF at the end": "GET /a HTTP/1.1\r\nHost: h\n\n" + smuggled,
		"CRLF LF at the end": "GET /a HTTP/1.1\r\nHost: h\r\n\n" + smuggled, "LF CRLF at the end": "GET /a HTTP/1.1\r\nHost: h\n\r\n" + smuggled, "CR only": "GET /a HTTP/1.1\rHost: h\r\r" + smuggled, "CR LF CR": "GET /a HTTP/1.1\r\nHost: h\r\n\r" + smuggled, "CRCRLF": "GET /a HTTP/1.1\r\r\nHost: h\r\n\r\n",
		"CRCRLF at the end": "GET /a HTTP/1.1\r\nHost: h\r\n\r\r\n" + smuggled, "CR in a value": get("A: b\rc"), "CR at the end of a value": get("A: b\r"), "CR before a colon": get("A\r: b"), "CR and a request in a value": get("A: b\r\r" + smuggled),
		"LF and a request in a value": get("A: b\n\n" + smuggled), "LF CR in a value": get("A: b\n\rc"), "NUL in a value": get("A: b\x00c"), "NUL in a name": get("A\x00: b"), "NUL alone": get("\x00"),
		"folded": get("A: b", " c"), "folded by a tab": get("A: b", "\tc"), "folded coding": post("A: b", " Transfer-Encoding: chunked") + "0\r\n\r\n", "coding in a fold": post("Transfer-Encoding:", " chunked") + "0\r\n\r\n", "length in a fold": post("Content-Length:", " 5") + "hello", "length and more in a fold": post("Content-Length: 5", " 0") + "hello",
		"coding undone by a fold": post("Transfer-Encoding: chunked", " x") + "0\r\n\r\n", "fold of blanks": get("A: b", "  "), "fold of one blank": get("A: b", " "), "fold behind the first line": "GET /a HTTP/1.1\r\n Host: h\r\n\r\n", "fold with a vertical tab": get("A: b", "\vc"), "fold with a form feed": get("A: b", "\fc"),
		"no colon": get("A"), "no name": get(": b"), "blank name": get(" : b"), "only a colon": get(":"), "a request as a field": get("GET /smuggled HTTP/1.1"), "a status line as a field": get("HTTP/1.1 200 OK"), "blank in a name": get("A b: c"), "late colon": get("A : b"), "tab before the colon": get("A\t: b"),
		"name in quotes": get("\"A\": b"), "two empty lines first": "\r\n\r\n" + get(), "LF first": "\n" + get(), "CR first": "\r" + get(), "a blank line first": " \r\n" + get(), "LF CRLF first": "\n\r\n" + get(), "CRLF LF first": "\r\n\n" + get(), "NUL first": "\x00" + get(), "BOM first": "\ufeff" + get(),
		"an empty line and a blank": "\r\n " + get(), "backspaces": get("A: b\b\b\b\bX: y"), "escape": get("A: \x1b[2J"), "DEL": get("A: b\x7f"), "vertical tab": get("A:\vb"),
	} {
		all = append(all, attack{name, sent, badHead})
	}
	all = append(all, everywhere("in a name:", get("A~B: c"), always(badHead))...)
	all = append(all, everywhere("before a colon:", get("A~: c"), always(badHead))...)
	all = append(all, everywhere("before a name:", get("~A: c"), always(badHead))...)
	all = append(all, everywhere("in a value:", get("A: b~c"), when(isText, served("GET /a", ""), badHead))...)
	return append(all,
		attack{"an empty line first", "\r\n" + get(), served("GET /a", "")},
		attack{"empty value", get("A:", "B: ", "C:\t"), served("GET /a", "")},
		attack{"no blank behind the colon", get("A:b"), served("GET /a", "")},
		attack{"colons in a value", get("A: b: c:: d", "B::"), served("GET /a", "")},
		attack{"256 fields", get(slices.Repeat([]string{"A: b"}, 255)...), served("GET /a", "")},
		attack{"257 fields", get(slices.Repeat([]string{"A: b"}, 256)...), refused(431)},
		attack{"10000 empty fields", get(slices.Repeat([]string{"A:"}, 10000)...), refused(431)},
		attack{"long value", get("A: " + strings.Repeat("b", 16000)), served("GET /a", "")},
		attack{"too long value", get("A: " + strings.Repeat("b", 17000)), refused(431)},
		attack{"too long name", get(strings.Repeat("A", 17000) + ": b"), refused(431)},
		attack{"no end", "GET /a HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("b", 17000), refused(431)},
	)
}
