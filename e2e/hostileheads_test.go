package e2e_test

import (
	"fmt"
	"strings"
)

// framingAlone has odd bytes around and in the only field that frames: who skips
// them finds a body where others find the next message. begin is what messages
// begin with.
func framingAlone(begin func(lines ...string) string, good, bad outcome) (all []attack) {
	never, blank := always(bad), when(isBlank, good, bad)
	for _, f := range []struct{ first, second, value, more, body string }{
		{"Content-", "Length", "1", "0", "0123456789"},
		{"Transfer-", "Encoding", "chun", "ked", "a\r\n0123456789\r\n0\r\n\r\n"},
	} {
		name, value := f.first+f.second, f.value+f.more
		all = append(all, everywhere(name+", before the name:", begin("~"+name+": "+value)+f.body, never)...)
		all = append(all, everywhere(name+", in the name:", begin(f.first+"~"+f.second+": "+value)+f.body, never)...)
		all = append(all, everywhere(name+", before the colon:", begin(name+"~: "+value)+f.body, never)...)
		all = append(all, everywhere(name+", before the value:", begin(name+":~"+value)+f.body, blank)...)
		all = append(all, everywhere(name+", in the value:", begin(name+": "+f.value+"~"+f.more)+f.body, never)...)
		all = append(all, everywhere(name+", behind the value:", begin(name+": "+value+"~")+f.body, blank)...)
		all = append(all, everywhere(name+", instead of the colon:", begin(name+"~"+value)+f.body, never)...)
	}
	return all
}

// framingTwice has both fields, of which one may be overlooked: CL.TE, TE.CL and
// their disguises.
func framingTwice(begin func(lines ...string) string, bad outcome) (all []attack) {
	never := always(bad)
	const length, coding, body = "Content-Length: 5", "Transfer-Encoding: chunked", "0\r\n\r\n"
	for _, f := range []struct{ name, whole, disguised string }{
		{"a disguised length", coding, "Content-~Length: 5"}, {"a length with a late colon", coding, "Content-Length~: 5"},
		{"a length of two parts", coding, "Content-Length: 5~5"}, {"a length after something", coding, "Content-Length:~5"},
		{"a length before something", coding, "Content-Length: 5~"}, {"a length behind something", coding, "~Content-Length: 5"},
		{"a disguised coding", length, "Transfer-~Encoding: chunked"}, {"a coding with a late colon", length, "Transfer-Encoding~: chunked"},
		{"a coding of two parts", length, "Transfer-Encoding: chunked~x"}, {"a coding after something", length, "Transfer-Encoding:~chunked"},
		{"a coding before something", length, "Transfer-Encoding: chunked~"}, {"a coding behind something", length, "~Transfer-Encoding: chunked"},
	} {
		all = append(all, everywhere(f.name+", first:", begin(f.disguised, f.whole)+body, never)...)
		all = append(all, everywhere(f.name+", second:", begin(f.whole, f.disguised)+body, never)...)
	}
	for name, head := range map[string]string{
		"length, coding": begin(length, coding), "coding, length": begin(coding, length),
		"length of 0, coding": begin("Content-Length: 0", coding), "coding, length of 0": begin(coding, "Content-Length: 0"),
		"coding, empty length": begin(coding, "Content-Length:"), "length, empty coding": begin(length, "Transfer-Encoding:"),
		"length, identity": begin(length, "Transfer-Encoding: identity"), "far apart": begin(length, "A: b", "C: d", coding),
		"in capitals": begin("CONTENT-LENGTH: 5", "TRANSFER-ENCODING: CHUNKED"), "length, coding, length": begin(length, coding, length),
		"named by Connection, the length": begin("Connection: Content-Length", length, coding),
		"named by Connection, the coding": begin("Connection: Transfer-Encoding", length, coding),
	} {
		all = append(all, attack{name, head + body, bad})
	}
	return all
}

// badLengths are values of Content-Length that are read as different numbers, or as
// none: signs, other bases, lists, what does not fit.
var badLengths = []string{"", "+5", "-5", "--5", "+-5", "-0", "0x5", "0X5", "5x", "x5", "5h", "0b101", "0o5", "5e0", "5.", "5.0", ".5", "5,5", "5, 5",
	"5,", ",5", "5,6", "5;5", "5 5", "5\t5", "\"5\"", "'5'", "(5)", "5 ;x", "5_0", "5'0", "5%30", "%35", "five", "NaN", "Infinity", "\u0665", "\uff15", "²", "5\u00a0",
	"9223372036854775808", "18446744073709551615", "18446744073709551616", "18446744073709551621", "340282366920938463463374607431768211461",
	"4611686018427387904", "99999999999999999999999999999999999999", "-9223372036854775808", "-1", "chunked", "*", "&5", "$5", "5|", "null", "true"}

// lengths are bodies by their length.
func lengths() (all []attack) {
	for _, v := range badLengths {
		all = append(all, attack{fmt.Sprintf("%q", v), post("Content-Length: "+v) + "hello", badHead})
	}
	for _, twice := range [][]string{{"5", "5"}, {"5", "6"}, {"0", "5"}, {"5", "0"}, {"5", "05"}, {"", "5"}, {"5", ""}, {"5", "5", "5"}} {
		var lines []string
		for i, v := range twice {
			lines = append(lines, []string{"Content-Length: ", "content-length: ", "CONTENT-LENGTH:"}[i]+v)
		}
		all = append(all, attack{fmt.Sprintf("fields %q", twice), post(lines...) + "hello", badHead})
	}
	// One number to everybody, but octal to some: written anew.
	for _, v := range []string{"5", "05", "0005", strings.Repeat("0", 100) + "5"} {
		all = append(all, attack{fmt.Sprintf("%q is 5", v), post("Content-Length: "+v) + "hello", served("POST /a", "hello")})
	}
	return append(all,
		attack{"010 is 10", post("Content-Length: 010") + "0123456789", served("POST /a", "0123456789")},
		attack{"000 is none", post("Content-Length: 000"), served("POST /a", "")},
		attack{"more than comes", post("Content-Length: 4611686018427387903") + "hello", unfinished},
		attack{"one more than comes", post(fmt.Sprintf("Content-Length: %d", len(marker)+1)), unfinished})
}

// badCodings are values of Transfer-Encoding that are chunked to some, and something
// else or nothing to others.
var badCodings = []string{"", "identity", "gzip", "deflate", "compress", "br", "x-gzip", "trailers", "gzip, chunked", "gzip,chunked", "chunked, gzip",
	"chunked, chunked", "chunked,chunked", "identity, chunked", "chunked, identity", "chunked,", ",chunked", ", chunked", "chunked, ,", ",,chunked", "chunked;", "chunked;q=1",
	"chunked; a=b", "chunked ; a", ";chunked", "\"chunked\"", "'chunked'", "(chunked)", "chunked (yes)", "<chunked>", "[chunked]", "{chunked}", "chunked\\", "\\chunked", "c\\hunked", "xchunked", "chunkedx",
	"x chunked", "chunked x", "x-chunked", "chunked-x", "chunke", "hunked", "chunk", "chunks", "chunked.", "chunked=", "chunked:", ":chunked", "=chunked", "chunked/1", "chunked\tx", "chunKed\u200b",
	"chun\u212aed", "\uff43hunked", "chünked", "chunked\u00a0", "*", "q=1", "0", "1", "true", "close", "cow", "nothing, chunked", "chunked|gzip", "%63hunked", "=?utf-8?q?chunked?=", "chunked%00", "chunked\\r\\n"}

// codings are bodies by their coding.
func codings() (all []attack) {
	const body = "5\r\nhello\r\n0\r\n\r\n"
	for _, v := range badCodings {
		all = append(all, attack{fmt.Sprintf("%q", v), post("Transfer-Encoding: "+v) + body, badHead})
	}
	for _, twice := range [][]string{{"chunked", "chunked"}, {"chunked", "identity"}, {"identity", "chunked"}, {"gzip", "chunked"}, {"chunked", ""}, {"", "chunked"}, {"chunked", "cow"}, {"x", "chunked"}} {
		all = append(all, attack{fmt.Sprintf("fields %q", twice), post("Transfer-Encoding: "+twice[0], "transfer-encoding: "+twice[1]) + body, badHead})
	}
	for _, v := range []string{"chunked", "CHUNKED", "Chunked", "cHuNkEd", "  chunked", "\tchunked\t ", strings.Repeat(" ", 200) + "chunked"} {
		all = append(all, attack{fmt.Sprintf("%q is chunked", v), post("Transfer-Encoding:"+v) + body, served("POST /a", "hello")})
	}
	for name, start := range map[string]string{"HTTP/1.0": "POST /a HTTP/1.0\r\n", "HTTP/1.0 kept alive": "POST /a HTTP/1.0\r\nConnection: keep-alive\r\n"} {
		all = append(all, attack{name, more(start+"Host: h\r\n", []string{"Transfer-Encoding: chunked"}) + body, badHead})
	}
	return append(all, attack{"GET", get("Transfer-Encoding: chunked") + body, served("GET /a", "hello")})
}

// names are other ways to write the name of a field that frames. Those that are no
// tokens are refused; no other may reach a server that takes it for the real one.
func names() (all []attack) {
	for _, n := range []string{"Content Length", "Content-Length ", " Content-Length", "Content\u2010Length", "Content-Length\u200b", "Con\u00adtent-Length", "\uff23ontent-Length", "Content-Length\u0000",
		"Content-\u0141ength", "Content-Length:", "\"Content-Length\"", "(Content-Length)", "Content-Length;", "Content-Length,", "Content-Length=",
		"Content-Length/", "Content-Length[]", "Content-Length\\", "@Content-Length", "<Content-Length>", "Content-Length{", ""} {
		all = append(all, attack{fmt.Sprintf("%q", n), post(n+": 5") + "hello", badHead})
	}
	for _, n := range []string{"Tran\u017ffer-Encoding", "Transfer Encoding", "Transfer-Encoding\u00a0", "Transfer-\u00c9ncoding", "Transfer-Encod\u0131ng", "Transfer\u2011Encoding", "\ufeffTransfer-Encoding",
		"Transfer-Encoding\\", "Transfer\\-Encoding", "Transfer-Encoding=", "Transfer-Encoding;", "Transfer/Encoding", "[Transfer-Encoding]", "Transfer-Encoding("} {
		all = append(all, attack{fmt.Sprintf("%q", n), post(n+": chunked") + "0\r\n\r\n", badHead})
	}
	for _, n := range []string{"X-Content-Length", "Content-Length-X", "Content-Lengths", "Content-Lengt", "Contentlength", "Content--Length", "-Content-Length", "Content-Length-", "'Content-Length'",
		"X-Transfer-Encoding", "Transfer-Encodin", "Transfer-Encodings", "TransferEncoding", "Accept-Encoding", "Http-Content-Length"} {
		all = append(all, attack{fmt.Sprintf("%q frames nothing", n), get(n + ": 5"), served("GET /a", "")})
	}
	return all
}

// underscored are names that programs which make variables of fields, as CGI does,
// cannot tell from those of fields that frame.
func underscored() (all []attack) {
	for _, line := range []string{"Content_Length: 5", "content_length: 5", "CONTENT_LENGTH: 5", "Transfer_Encoding: chunked", "transfer_encoding: chunked", "Content.Length: 5", "Content~Length: 5",
		"Content^Length: 5", "Content!Length: 5", "Content+Length: 5", "Content%Length: 5", "Transfer.Encoding: chunked", "Transfer~Encoding: chunked", "Transfer+Encoding: chunked"} {
		all = append(all, attack{line, get(line), badHead})
	}
	return all
}
