package top

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"fulcrum/events"
)

// A view is what is drawn, once.
type view struct {
	Look
	width   int
	picture *picture
	rows    []row // of the picture, those that are shown
	top     int   // of these, the first on the screen
	cursor  int   // that which is chosen; -1: none
	sorted  int   // the column
	link    string
	linked  bool // that is good news
	stale   bool // the picture is old

	stateless bool // there is no room for states
}

// styles of standings.
var styles = [...]style{good: green, warning: yellow, bad: red, open: blue}

// head is what stands above the table, in two lines.
func (v *view) head() []string {
	b := &v.picture.balancer
	standing, word := good, "ready"
	switch {
	case v.picture.at.IsZero():
		standing, word = open, "not known yet"
	case b.Draining:
		standing, word = warning, "draining"
	case !b.Ready:
		standing, word = bad, "not ready: "+b.Reason
	}
	first := []piece{{text: "fulcrum ", style: bold}, {text: v.mark(standing) + " " + word, style: styles[standing]}}
	if !v.picture.at.IsZero() {
		first = append(first, piece{text: "  " + b.Version + ", up " + age(v.picture.at.Sub(b.Started)), style: faint})
	}
	second := []piece{
		{text: amount(float32(b.Connections)), style: bold}, {text: " connections  "},
		{text: amount(b.Rate), style: bold}, {text: "/s  "},
		{text: amount(b.Errors), style: bold}, {text: " errors/s  p50 "},
		{text: milliseconds(b.P50MS), style: bold}, {text: "  p99 "},
		{text: milliseconds(b.P99MS), style: bold}, {text: "  "},
		{text: v.spark(v.picture.past.columns(sparkLength/2), v.picture.past.most()), style: faint},
	}
	return []string{v.withLink(first), v.line(v.width, "", second...)}
}

// withLink puts how it is about the connection at the end of a line.
func (v *view) withLink(pieces []piece) string {
	link := piece{text: v.link, style: faint}
	if !v.linked {
		link.style = loud
	}
	room := v.width - ansi.StringWidth(v.clean(v.link)) - 1
	if room < 1 {
		return v.line(v.width, "", link)
	}
	left := v.line(room, "", pieces...)
	return left + strings.Repeat(" ", room+1-ansi.StringWidth(left)) + v.line(v.width-room-1, "", link)
}

// table returns the titles and as many rows as there is room for.
func (v *view) table(height int) []string {
	longest := 0
	for i := range v.rows {
		longest = max(longest, ansi.StringWidth(v.clean(name(v, &v.rows[i], 0))))
	}
	widths := layout(v.width-1, longest)
	v.stateless = widths[stateColumn] == 0
	titles := []piece{{text: " "}}
	for i, c := range columns {
		if widths[i] == 0 {
			continue
		}
		style := faint
		if i == v.sorted {
			style = bold
		}
		titles = append(titles, piece{text: c.title, width: widths[i], right: c.right, style: style}, piece{text: " "})
	}
	lines := []string{v.line(v.width, "", titles...)}
	for i := v.top; i < len(v.rows) && i < v.top+height-1; i++ {
		lines = append(lines, v.row(&v.rows[i], widths, i == v.cursor))
	}
	return lines
}

// row draws a row. Where there is no column for why a server is not healthy, that
// stands where its times would: it has none.
func (v *view) row(r *row, widths []int, chosen bool) string {
	pieces := []piece{{text: " "}}
	var over style
	switch {
	case chosen:
		pieces[0].text, over = ">", reverse
	case v.stale:
		over = faint
	}
	rest := v.width - 1
	for i, c := range columns {
		if widths[i] == 0 {
			continue
		}
		if i >= p50Column && r.reason != "" && widths[whyColumn] == 0 {
			pieces = append(pieces, piece{text: r.reason, width: rest, style: red})
			break
		}
		p := piece{text: c.text(v, r, widths[i]), width: widths[i], right: c.right}
		switch {
		case i == nameColumn && r.kind != aServer:
			p.style = bold
		case i == stateColumn && r.kind != aListener, i == whyColumn:
			p.style = styles[r.standing]
		case i == sparkColumn:
			p.style = faint
		}
		pieces = append(pieces, p, piece{text: " "})
		rest -= widths[i] + 1
	}
	return v.line(v.width, over, pieces...)
}

// happened returns the last events, as many as there is room for.
func (v *view) happened(height int) []string {
	all := v.picture.events
	all = all[max(len(all)-height, 0):]
	lines := make([]string, 0, height)
	for i := range all {
		lines = append(lines, v.event(&all[i]))
	}
	return lines
}

func (v *view) event(e *events.Event) string {
	if e.Kind == events.Missed {
		return v.line(v.width, "", piece{text: fmt.Sprintf("%d events are not known any more", e.Count), style: faint})
	}
	what := strings.ReplaceAll(string(e.Kind), "_", " ")
	pieces := []piece{{text: e.At.Local().Format(time.TimeOnly) + " ", style: faint}, {text: what, style: eventStyles[e.Kind]}}
	var of []string
	for _, text := range []string{e.Server, e.Pool, e.Listener} {
		if text != "" {
			of = append(of, text)
		}
	}
	if len(of) > 0 {
		pieces = append(pieces, piece{text: "  " + strings.Join(of, " in ")})
	}
	if e.Reason != "" {
		pieces = append(pieces, piece{text: ": " + e.Reason})
	}
	if e.Was != "" {
		pieces = append(pieces, piece{text: fmt.Sprintf(" (was %s for %s)", e.Was, age(e.At.Sub(e.Since))), style: faint})
	}
	if e.Count > 1 {
		pieces = append(pieces, piece{text: fmt.Sprintf(" (%d times)", e.Count)})
	}
	if len(e.Details) > 0 {
		pieces = append(pieces, piece{text: ": " + strings.Join(e.Details, "; ")})
	}
	return v.line(v.width, "", pieces...)
}

// eventStyles are those of good and bad news.
var eventStyles = map[events.Kind]style{
	events.ServerReady: green, events.PoolReady: green, events.BalancerUndrained: green, events.ServerUndrained: green,
	events.ServerNotReady: red, events.PoolNotReady: red, events.ReloadFailed: red, events.PoolQueueFull: red,
	events.AcceptPaused: red, events.StateTrouble: red, events.BalancerStopping: red,
	events.ServerDrained: yellow, events.ServerDeleted: yellow, events.BalancerDraining: yellow,
}
