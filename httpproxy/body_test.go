package httpproxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

// take reads a body off b in pieces of at most size bytes, and returns it with how
// much of b it took up.
func take(b []byte, length int64, size int) (payload []byte, used int, d *body, err error) {
	d = &body{}
	d.begin(length)
	for used < len(b) && !d.ended() {
		part := b[used:min(used+size, len(b))]
		for len(part) > 0 && !d.ended() {
			piece, n, err := d.next(part)
			if err != nil {
				return payload, used, d, err
			}
			payload = append(payload, piece...)
			part = part[n:]
			used += n
		}
	}
	return payload, used, d, nil
}

func TestBodiesAreFoundHoweverTheyAreCut(t *testing.T) {
	for _, c := range []struct {
		length              int64
		sent, payload, rest string
		whole               bool
	}{
		{5, "helloGET", "hello", "GET", true},
		{0, "GET", "", "GET", true},
		{9, "hello", "hello", "", false},
		{lengthNone, "all of it", "all of it", "", false},
		{lengthChunked, "5\r\nhello\r\n0\r\n\r\nGET", "hello", "GET", true},
		{lengthChunked, "2;a=b;c=\"d\"\r\nhe\r\n003\r\nllo\r\n000;x\r\nA: b\r\nC:d\r\n\r\nGET", "hello", "GET", true},
		{lengthChunked, "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", "", true},
		{lengthChunked, "5\r\nhel", "hel", "", false},
	} {
		for size := 1; size <= len(c.sent)+1; size++ {
			payload, used, d, err := take([]byte(c.sent), c.length, size)
			if err != nil || string(payload) != c.payload || c.sent[used:] != c.rest || d.ended() != c.whole {
				t.Errorf("%q by %d: %q, then %q, whole %v, error %v", c.sent, size, payload, c.sent[used:], d.ended(), err)
			}
		}
	}
}

func TestMalformedChunksAreRefused(t *testing.T) {
	for _, sent := range []string{
		"\r\n", "g\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n", "1 \r\n", "1 ;a\r\n", "1\n", "1\r1", ";a\r\n", "1;a\x00\r\n", "1;a\nb\r\n",
		"1\r\nab", "1\r\na\n", "1\r\na\rb", "1234567890123456\r\n", "1;" + strings.Repeat("a", maxSizeLine) + "\r\n",
		"0\r\nA: b\n\r\n", "0\r\nA\r\n\r\n", "0\r\nA : b\r\n\r\n", "0\r\n A: b\r\n\r\n", "0\r\nA: \x01\r\n\r\n", "0\r\nA: a\rb\r\n\r\n",
		"0\r\n" + strings.Repeat("A: b\r\n", maxTrailer/6+1) + "\r\n", "0\r\n\n",
	} {
		for _, size := range []int{1, 3, len(sent)} {
			if payload, _, d, err := take([]byte(sent), lengthChunked, size); err == nil {
				t.Errorf("%q by %d became %q, whole %v", sent, size, payload, d.ended())
			}
		}
	}
}

func TestOnlyHarmlessTrailersArePassedOn(t *testing.T) {
	section := "A: b\r\nContent-Length: 5\r\ntransfer-encoding: chunked\r\nX-Forwarded-For: me\r\nHost: h\r\nc:d\r\nConnection: x\r\n\r\n"
	got := string(appendTrailer(nil, []byte(section)))
	if want := "0\r\nA: b\r\nc: d\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(appendTrailer(nil, []byte("\r\n"))); got != lastChunk {
		t.Errorf("got %q, want %q", got, lastChunk)
	}
}

// Whatever is accepted is the same body however it is cut, the same to another
// parser, and the same after it was framed anew.
func FuzzChunkedBody(f *testing.F) {
	for _, seed := range []string{"3\r\nabc\r\n0\r\n\r\n", "1;x=y\r\na\r\n00\r\nT: v\r\n\r\nrest", "5\r\nabc", "0\r\n\r\n", "1\r\na\r\nx"} {
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, sent []byte, cut uint8) {
		payload, used, d, err := take(sent, lengthChunked, len(sent)+1)
		again, usedAgain, dAgain, errAgain := take(sent, lengthChunked, int(cut)+1)
		if (err == nil) != (errAgain == nil) || d.ended() != dAgain.ended() {
			t.Fatalf("%q: %v, cut by %d %v", sent, err, cut+1, errAgain)
		}
		if err != nil || !d.ended() {
			return
		}
		if !bytes.Equal(payload, again) || used != usedAgain || !bytes.Equal(d.trailer, dAgain.trailer) {
			t.Fatalf("%q is %q, %d long, and cut by %d is %q, %d long", sent, payload, used, cut+1, again, usedAgain)
		}
		br := bufio.NewReader(bytes.NewReader(sent))
		other, err := io.ReadAll(httputil.NewChunkedReader(br))
		if err != nil || !bytes.Equal(other, payload) {
			t.Fatalf("%q is %q, to another parser %q, %v", sent, payload, other, err)
		}
		var out []byte
		if len(payload) > 0 {
			out = appendPiece(out, payload, true)
		}
		out = appendTrailer(out, d.trailer)
		if again, used, d, err := take(out, lengthChunked, len(out)); err != nil || !d.ended() || used != len(out) || !bytes.Equal(again, payload) {
			t.Fatalf("%q became %q, %v", payload, out, err)
		}
	})
}
