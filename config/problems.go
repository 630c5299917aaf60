package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/go-multierror"
)

const (
	maxProblems = 1000 // how many are reported in words; the rest are counted
	maxShown    = 80   // how many bytes of a value a message shows
	maxListed   = 20   // how many names a message lists
)

// problems gathers all that is wrong with one config.
type problems struct {
	file string // "" if it did not come from a named one
	data []byte // nil if there is no text
	list []problem
	more int // not in list, for there were too many
}

type problem struct {
	offset int // in data; -1: none
	text   string
}

// add reports a problem with the value at a place.
func (p *problems) add(at *place, format string, args ...any) {
	p.addAt(at.offset(), at, format, args...)
}

// addAt reports a problem that shows at an offset other than that of the place.
func (p *problems) addAt(offset int, at *place, format string, args ...any) {
	if p.full() {
		p.more++
		return
	}
	text := fmt.Sprintf(format, args...)
	if path := at.String(); path != "" {
		text = path + ": " + text
	}
	p.list = append(p.list, problem{offset, text})
}

// full reports whether one more would only be counted.
func (p *problems) full() bool { return len(p.list) == maxProblems }

// addBad reports a value that cannot be made out; nothing more is said of it.
func (p *problems) addBad(at *place, format string, args ...any) {
	at.node.bad = true
	p.add(at, format, args...)
}

// errorOrNil returns everything reported, in the order of the text.
func (p *problems) errorOrNil() error {
	slices.SortStableFunc(p.list, func(a, b problem) int { return cmp.Compare(a.offset, b.offset) })
	all := &multierror.Error{ErrorFormat: p.format(len(p.list) + p.more)}
	where := position{line: 1, column: 1}
	for _, one := range p.list {
		prefix := p.file
		if one.offset >= 0 {
			where.advance(p.data, one.offset)
			prefix = strings.TrimPrefix(fmt.Sprintf("%s:%d:%d", p.file, where.line, where.column), ":")
		}
		if prefix != "" {
			prefix += ": "
		}
		all = multierror.Append(all, errors.New(prefix+one.text))
	}
	return all.ErrorOrNil()
}

// format returns how the error reads on a terminal: a problem alone is its own
// line, several stand under a heading.
func (p *problems) format(total int) multierror.ErrorFormatFunc {
	heading := fmt.Sprintf("%d problems", total)
	if p.file != "" {
		heading = p.file + ": " + heading
	}
	more := p.more
	return func(lines []error) string {
		if len(lines) == 1 {
			return lines[0].Error()
		}
		var b strings.Builder
		b.WriteString(heading)
		for _, line := range lines {
			b.WriteString("\n  " + line.Error())
		}
		if more > 0 {
			fmt.Fprintf(&b, "\n  and %d more", more)
		}
		return b.String()
	}
}

// A position is an offset in a text with its line and column.
type position struct{ offset, line, column int }

// advance moves on to a later offset.
func (at *position) advance(data []byte, offset int) {
	offset = min(offset, len(data))
	passed := string(data[at.offset:offset])
	if lines := strings.Count(passed, "\n"); lines > 0 {
		at.line += lines
		at.column = 1
		passed = passed[strings.LastIndexByte(passed, '\n')+1:]
	}
	at.column += utf8.RuneCountInString(passed)
	at.offset = offset
}

// quote returns a value for a message: in quotes, and not too much of it.
func quote(s string) string { return strconv.Quote(clip(s)) }

func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	end := maxShown
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// names lists what is allowed, for a message.
func names(all []string) string {
	shown := make([]string, 0, maxListed)
	for _, name := range all[:min(len(all), maxListed)] {
		shown = append(shown, quote(name))
	}
	list := strings.Join(shown, ", ")
	if len(all) > maxListed {
		list += fmt.Sprintf(" and %d more", len(all)-maxListed)
	}
	return list
}

// suggest returns a question that names the one that was probably meant, or "".
func suggest(name string, all []string) string {
	if len(name) > maxShown {
		return ""
	}
	best, least := "", min(3, max(1, len(name)/3))+1
	for _, candidate := range all {
		if d := distance(strings.ToLower(name), candidate, least); d < least {
			best, least = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q? ", best)
}

// distance returns how many bytes must be put in, taken out or replaced to
// make one string of the other, or just some number that is not below most.
func distance(a, b string, most int) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		nearest := row[0]
		for j := range len(b) {
			above := row[j+1]
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, above+1, row[j]+1)
			nearest = min(nearest, row[j+1])
			diagonal = above
		}
		if nearest >= most {
			return nearest
		}
	}
	return row[len(b)]
}
