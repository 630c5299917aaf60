package top

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// A Look is what a terminal can show.
type Look struct {
	Colour  bool
	Unicode bool
}

// LookOf returns the look that the variables of an environment ask for: no colour with
// NO_COLOR (no-color.org) or on a dumb terminal; Unicode if the locale has it.
func LookOf(getenv func(string) string) Look {
	dumb := getenv("TERM") == "dumb" || getenv("TERM") == ""
	var locale string
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = strings.ToLower(getenv(name)); locale != "" {
			break
		}
	}
	return Look{
		Colour:  !dumb && getenv("NO_COLOR") == "",
		Unicode: !dumb && (strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")),
	}
}

// A style is a rendition by ECMA-48, section 8.3.117; "": as text is.
type style string

const (
	bold    style = "1"
	faint   style = "2"
	reverse style = "7"
	red     style = "31"
	green   style = "32"
	yellow  style = "33"
	blue    style = "34"
	loud    style = "1;31"
)

// A piece is some text of a line. All text comes to the terminal by way of one: line
// leaves nothing in it that the terminal could take for anything but text.
type piece struct {
	text  string
	width int // columns that it takes; 0: as many as it needs
	right bool
	style style
}

// line puts pieces beside each other, in no more columns than width. With over they
// all have that style.
func (l Look) line(width int, over style, pieces ...piece) string {
	var out strings.Builder
	for _, p := range pieces {
		if width <= 0 {
			break
		}
		text := l.clean(p.text)
		if p.width > 0 {
			text = l.fit(text, min(p.width, width), p.right)
		} else {
			text = l.cut(text, width)
		}
		width -= ansi.StringWidth(text)
		if over != "" {
			p.style = over
		}
		if p.style == "" || !l.Colour || text == "" {
			out.WriteString(text)
			continue
		}
		fmt.Fprintf(&out, "\x1b[%sm%s\x1b[0m", p.style, text)
	}
	if over == "" {
		return strings.TrimRight(out.String(), " ")
	}
	return out.String()
}

const maxText = 4096 // bytes of a text that are looked at

// clean takes out of a text what is no text: control characters, those that turn the
// direction of what follows, and what a terminal cannot show.
func (l Look) clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r), r == unicode.ReplacementChar:
			return -1
		case r > unicode.MaxASCII && !l.Unicode:
			return '?'
		}
		return r
	}, text[:min(len(text), maxText)])
}

// cut shortens a text to a number of columns.
func (l Look) cut(text string, width int) string {
	if ansi.StringWidth(text) <= width {
		return text
	}
	tail := "…"
	if !l.Unicode {
		tail = "~"
	}
	return ansi.Truncate(text, width, tail)
}

// fit makes a text as wide as a number of columns.
func (l Look) fit(text string, width int, right bool) string {
	text = l.cut(text, width)
	space := strings.Repeat(" ", width-ansi.StringWidth(text))
	if right {
		return space + text
	}
	return text + space
}

// mark is what tells a standing without colour.
func (l Look) mark(s standing) string {
	marks := [...]string{good: "●", warning: "◌", bad: "✗", open: "?"}
	if !l.Unicode {
		marks = [...]string{good: "*", warning: "-", bad: "x", open: "?"}
	}
	return marks[s]
}

// spark draws numbers, the highest of which is scale.
func (l Look) spark(columns []float32, scale float32) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	if !l.Unicode {
		levels = []rune("_.-=+*#@")
	}
	var out strings.Builder
	for _, x := range columns {
		i := 0
		if x > 0 && scale > 0 {
			i = min(1+int(float64(x/scale)*float64(len(levels)-2)+0.5), len(levels)-1)
		}
		out.WriteRune(levels[i])
	}
	return out.String()
}

// amount writes a number in at most five characters, by steps of a thousand.
func amount(x float32) string {
	v := max(float64(x), 0)
	for _, unit := range []string{"", "k", "M", "G", "T", "P"} {
		switch {
		case v == 0, v >= 9.95 && v < 999.5, unit == "" && v == float64(int(v)) && v < 10:
			return strconv.FormatFloat(v, 'f', 0, 64) + unit
		case v < 0.05:
			return "<0.1"
		case v < 9.95:
			return strconv.FormatFloat(v, 'f', 1, 64) + unit
		}
		v /= 1000
	}
	return "much"
}

// milliseconds writes a time in at most six characters.
func milliseconds(ms float32) string {
	v := max(float64(ms), 0)
	switch {
	case v == 0:
		return "-"
	case v < 0.995:
		return strconv.FormatFloat(max(v, 0.01), 'f', 2, 64) + "ms"
	case v < 9.95:
		return strconv.FormatFloat(v, 'f', 1, 64) + "ms"
	case v < 999.5:
		return strconv.FormatFloat(v, 'f', 0, 64) + "ms"
	case v < 9995:
		return strconv.FormatFloat(v/1000, 'f', 2, 64) + "s"
	case v < 999_500:
		return strconv.FormatFloat(v/1000, 'f', 0, 64) + "s"
	}
	return age(time.Duration(min(v, 1e12)) * time.Millisecond)
}

// age writes a duration by its largest unit, in at most four characters up to some
// years.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(max(d, 0)/time.Second)) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d"
}
