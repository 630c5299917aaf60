package top

import (
	"fmt"
	"strings"
	"time"
)

// areas is how many lines each part of the screen has.
type areas struct {
	head, rows, detail, events int
}

const (
	mostEvents = 8 // lines
	lastLine   = 1 // where the keys are
	titleLine  = 1
)

// areas shares the lines out: the table has all but a quarter, which the events have,
// under a title, and nothing else where there is little room.
func (m *model) areas() areas {
	a := areas{head: 2, detail: 1}
	if m.height < 10 {
		a = areas{head: 1}
	} else {
		a.events = min(m.height/4, mostEvents)
	}
	if m.height < 4 {
		a.head = 0
	}
	taken := a.head + titleLine + a.detail + lastLine
	if a.events > 0 {
		taken += a.events + titleLine
	}
	a.rows = max(m.height-taken, 0)
	return a
}

// View draws the screen, in no more lines and columns than it has.
func (m *model) View() string {
	v := m.view()
	a := m.areas()
	var lines []string
	if m.height > lastLine {
		lines = append(lines, v.head()[:a.head]...)
		if m.mode == helping {
			lines = append(lines, m.help(v, m.height-a.head-lastLine)...)
		} else {
			lines = append(lines, m.body(v, a)...)
		}
	}
	lines = append(lines[:min(len(lines), max(m.height-lastLine, 0))], m.bottom(v))
	return strings.Join(lines, "\n")
}

// mostSilence is how long nothing may come until that is said: a message comes each
// second.
const mostSilence = 3 * time.Second

func (m *model) view() *view {
	v := &view{Look: m.look, width: m.width, picture: &m.picture, rows: m.rows, top: m.top, cursor: m.cursor, sorted: m.sorted}
	switch {
	case !m.live && m.since.IsZero():
		v.link, v.linked = "connecting", true
	case !m.live:
		v.link, v.stale = "no connection for "+age(m.now.Sub(m.since)), true
	case m.now.Sub(m.heard) > mostSilence:
		v.link, v.stale = "nothing for "+age(m.now.Sub(m.heard)), true
	case m.paused:
		v.link = "paused at " + m.picture.at.Local().Format(time.TimeOnly)
	default:
		v.link, v.linked = "live", true
	}
	return v
}

func (m *model) body(v *view, a areas) []string {
	lines := padded(v.table(a.rows+titleLine), a.rows+titleLine)
	if a.detail > 0 {
		detail := ""
		if len(m.rows) > 0 {
			detail = m.rows[m.cursor].detail
		}
		lines = append(lines, v.line(m.width, "", piece{text: detail}))
	}
	if a.events > 0 {
		lines = append(lines, v.line(m.width, "", piece{text: "EVENTS", style: faint}))
		lines = append(lines, padded(v.happened(a.events), a.events)...)
	}
	return lines
}

// padded adds empty lines up to a number of them.
func padded(lines []string, n int) []string {
	for len(lines) < n {
		lines = append(lines, "")
	}
	return lines
}

func (m *model) help(v *view, height int) []string {
	lines := []string{""}
	for _, text := range help {
		lines = append(lines, v.line(m.width, "", piece{text: " " + text}))
	}
	return padded(lines, height)[:height]
}

// bottom is the last line: what is asked, why there is nothing new, what came of the
// last key, or which keys there are.
func (m *model) bottom(v *view) string {
	p := piece{}
	switch {
	case m.mode == confirming:
		p.text, p.style = "y/n: "+whatOf(m.asked)+"?", bold
	case m.mode == filtering:
		p.text, p.style = "filter: "+m.filter+"_   enter: keep, esc: none", bold
	case m.status != "":
		p.text = m.status
	case m.why != "":
		p.text, p.style = m.why+"; trying again", red
	case m.mode == helping:
		p.text, p.style = "any key: back", faint
	default:
		p.text, p.style = m.hints(), faint
	}
	return v.line(m.width, "", p)
}

// hints says which keys there are, behind what they have been used for.
func (m *model) hints() string {
	var text strings.Builder
	if m.filter != "" {
		fmt.Fprintf(&text, "filter %q  ", m.filter)
	}
	if m.sorted >= 0 {
		fmt.Fprintf(&text, "sorted by %s  ", strings.ToLower(columns[m.sorted].title))
	}
	text.WriteString("q quit  ? help  / filter  s sort  d drain  u undrain  p ")
	if m.paused {
		text.WriteString("go on")
	} else {
		text.WriteString("pause")
	}
	return text.String()
}
