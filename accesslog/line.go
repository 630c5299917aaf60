package accesslog

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// MaxText is how many bytes of a text are written. A longer one is cut there, or
// up to three bytes before, so that no character is torn, and ends with mark.
const MaxText = 8 << 10

const mark = "…"

// A Line is a record in the making: one line with one JSON object (RFC 8259). Begin
// makes it and End completes it; the methods between append a member each. Names
// are written as they are, so they come from the program; texts may be anything.
type Line []byte

// Begin appends the beginning of a record to b: its member "time", in UTC.
func Begin(b []byte, at time.Time) Line {
	b = append(b, `{"time":"`...)
	return append(at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z"), '"')
}

// End returns the line whole, with its newline.
func (l Line) End() []byte { return append(l, "}\n"...) }

// Text appends a text of at most MaxText bytes. Bytes that are not UTF-8 become
// U+FFFD; control characters and line separators, of ASCII or not, are escaped.
func (l Line) Text(name, text string) Line { return l.Bytes(name, []byte(text)) }

// Bytes is Text for what is no string.
func (l Line) Bytes(name string, text []byte) Line {
	l = append(l.name(name), '"')
	text, long := cut(text)
	l = appendQuoted(l, text)
	if long {
		l = append(l, mark...)
	}
	return append(l, '"')
}

// Address appends an address with its port, without its zone.
func (l Line) Address(name string, a netip.AddrPort) Line {
	l = append(l.name(name), '"')
	l = netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()).AppendTo(l)
	return append(l, '"')
}

// Number appends a whole number.
func (l Line) Number(name string, n int64) Line { return strconv.AppendInt(l.name(name), n, 10) }

// Bool appends true or false.
func (l Line) Bool(name string, yes bool) Line { return strconv.AppendBool(l.name(name), yes) }

// Millis appends a time in milliseconds, with three decimals. None is negative.
func (l Line) Millis(name string, d time.Duration) Line {
	micros := max(d.Microseconds(), 0)
	l = strconv.AppendInt(l.name(name), micros/1000, 10)
	part := micros % 1000
	return append(l, '.', byte('0'+part/100), byte('0'+part/10%10), byte('0'+part%10))
}

func (l Line) name(name string) Line {
	l = append(l, `,"`...)
	l = append(l, name...)
	return append(l, `":`...)
}

// AppendEscaped appends a text of at most MaxText bytes as nginx does between the
// quotes of its logs: quotes, backslashes and all but printable ASCII as \xHH, in
// capitals. The mark of a longer one is escaped too.
func AppendEscaped(b, text []byte) []byte {
	text, long := cut(text)
	b = appendHexed(b, text)
	if long {
		b = appendHexed(b, []byte(mark))
	}
	return b
}

// cut returns what is written of a text, and whether that is not all.
func cut(text []byte) (kept []byte, long bool) {
	if len(text) <= MaxText {
		return text, false
	}
	for n := MaxText; n > MaxText-utf8.UTFMax; n-- {
		if utf8.RuneStart(text[n]) {
			return text[:n], true
		}
	}
	return text[:MaxText], true
}

// plain reports whether a byte needs no escape in either format.
func plain(c byte) bool { return ' ' <= c && c < 0x7f && c != '"' && c != '\\' }

// plainPart returns the length of the beginning of text that needs no escape.
func plainPart(text []byte) int {
	for i, c := range text {
		if !plain(c) {
			return i
		}
	}
	return len(text)
}

func appendQuoted(b, text []byte) []byte {
	for {
		n := plainPart(text)
		b = append(b, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			return b
		}
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0xa0 || r == '\u2028' || r == '\u2029':
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
}

func appendHexed(b, text []byte) []byte {
	for {
		n := plainPart(text)
		b = append(b, text[:n]...)
		if n == len(text) {
			return b
		}
		const hex = "0123456789ABCDEF"
		b = append(b, '\\', 'x', hex[text[n]>>4], hex[text[n]&15])
		text = text[n+1:]
	}
}
