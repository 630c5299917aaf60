package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// A Report is what Examine has found.
type Report struct {
	Config   string    `json:"config,omitempty"` // the file that was examined; for who asks to fill in
	Worst    Level     `json:"worst"`
	Findings []Finding `json:"findings"` // the worst first
}

// headings are what groups of findings stand under.
var headings = [...]string{OK: "Fine", Info: "Worth knowing", Unknown: "Not known", Warning: "Warnings", Problem: "Problems"}

const width = 88 // columns of text that is not to be copied

// Print writes the report for people. It ends with the Summary only
// if there is nothing to warn of.
func (r Report) Print(w io.Writer) error {
	var b strings.Builder
	for i, f := range r.Findings {
		if i == 0 || r.Findings[i-1].Level != f.Level {
			b.WriteString(strings.Repeat("\n", min(i, 1)) + headings[f.Level] + "\n")
		}
		if f.Why != "" {
			b.WriteString("\n")
		}
		wrap(&b, "  ", f.Check+": "+f.What)
		if f.Why != "" {
			wrap(&b, "    why  ", f.Why)
		}
		label := "    do   "
		for line := range strings.SplitSeq(f.Do, "\n") {
			if line != "" {
				b.WriteString(label + line + "\n")
				label = "         "
			}
		}
	}
	if r.Worst < Warning {
		b.WriteString("\n" + r.Summary() + "\n")
	}
	_, err := io.WriteString(w, strings.Map(printable, b.String()))
	return err
}

// printable puts something else in the place of what could command a terminal.
func printable(r rune) rune {
	if r == '\n' || unicode.IsPrint(r) {
		return r
	}
	return '?'
}

// Summary counts the warnings and problems: "1 problem and 2 warnings".
func (r Report) Summary() string {
	count := func(level Level) (n int) {
		for _, f := range r.Findings {
			if f.Level == level {
				n++
			}
		}
		return n
	}
	problems, warnings := plural(count(Problem), "problem"), plural(count(Warning), "warning")
	switch r.Worst {
	case Problem:
		if count(Warning) > 0 {
			return problems + " and " + warnings
		}
		return problems
	case Warning:
		return warnings
	}
	return "no problems and no warnings"
}

// wrap writes words in lines behind an indentation, of which the first line has
// the text and the others as many spaces.
func wrap(b *strings.Builder, indent, text string) {
	at := 0
	for _, word := range strings.Fields(text) {
		switch {
		case at == 0:
			b.WriteString(indent)
			at = len(indent)
		case at+1+len(word) > width:
			indent = strings.Repeat(" ", max(len(indent), 4))
			b.WriteString("\n" + indent)
			at = len(indent)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	b.WriteByte('\n')
}

// plural writes how many there are of what has a regular plural.
func plural[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// list names the first of many.
func list(names []string) string {
	const most = 8
	text := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}

// those begins a sentence on one or more of a kind: "pool web has", "pools a, b have".
func those(what string, names []string, one, more string) string {
	if len(names) == 1 {
		return what + " " + names[0] + " " + one
	}
	return what + "s " + list(names) + " " + more
}

// about is what there is to say of all of a kind that have something in common,
// nothing if there are none.
func about(what string, names []string, level Level, one, more, why, do string) []Finding {
	if len(names) == 0 {
		return nil
	}
	return []Finding{{Level: level, What: those(what, names, one, more), Why: why, Do: do}}
}

// size writes a number of bytes.
func size(n int64) string {
	value, unit := float64(n), 0
	for value >= 1024 && unit < 4 {
		value /= 1024
		unit++
	}
	if unit == 0 || value >= 99.95 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return strings.Replace(fmt.Sprintf("%.1f %s", value, units[unit]), ".0 ", " ", 1)
}

var units = [...]string{"bytes", "KiB", "MiB", "GiB", "TiB"}
