package top

import (
	"cmp"
	"strings"
	"time"
)

// A column is one of the table. The name stands before all others.
type column struct {
	title string
	width int // at least
	right bool
	text  func(v *view, r *row, width int) string
	// compare says which of two servers comes first when they are sorted by it; nil:
	// they cannot be.
	compare func(a, b *row) int
}

// columns of the table, in order.
var columns = []column{
	{title: "NAME", width: 17, text: name, compare: func(a, b *row) int { return cmp.Compare(a.server, b.server) }},
	{title: "STATE", width: 13, text: state, compare: worse},
	{title: "SINCE", width: 5, right: true, text: since, compare: func(a, b *row) int { return b.since.Compare(a.since) }},
	{title: "ACTIVE", width: 6, right: true, text: func(_ *view, r *row, _ int) string { return amount(r.Active) }, compare: func(a, b *row) int { return cmp.Compare(b.Active, a.Active) }},
	{title: "RATE/S", width: 6, right: true, text: func(_ *view, r *row, _ int) string { return amount(r.Rate) }, compare: func(a, b *row) int { return cmp.Compare(b.Rate, a.Rate) }},
	{title: "ERR/S", width: 5, right: true, text: func(_ *view, r *row, _ int) string { return amount(r.Errors) }, compare: func(a, b *row) int { return cmp.Compare(b.Errors, a.Errors) }},
	{title: "P50", width: 6, right: true, text: func(_ *view, r *row, _ int) string { return milliseconds(r.P50MS) }, compare: func(a, b *row) int { return cmp.Compare(b.P50MS, a.P50MS) }},
	{title: "P99", width: 6, right: true, text: func(_ *view, r *row, _ int) string { return milliseconds(r.P99MS) }, compare: func(a, b *row) int { return cmp.Compare(b.P99MS, a.P99MS) }},
	{title: "5 MIN", width: 5, text: func(v *view, r *row, width int) string { return v.spark(r.past.columns(width), r.scale) }},
	{title: "WHY", width: 24, text: func(_ *view, r *row, _ int) string { return r.reason }},
}

// Indices of columns.
const (
	nameColumn  = 0
	stateColumn = 1
	p50Column   = 6
	sparkColumn = 8
	whyColumn   = 9
)

// byNeed are the columns in the order in which they find room.
var byNeed = []int{nameColumn, stateColumn, 3, 4, 7, 5, 2, p50Column, sparkColumn, whyColumn}

const maxName = 45 // columns, however long a name is

// layout returns how wide each column is in a line of some width, 0 if there is no
// room for it; longest is the width of the longest name.
func layout(width, longest int) []int {
	widths := make([]int, len(columns))
	left := width
	for _, i := range byNeed {
		need := columns[i].width + 1
		if need > left && i != nameColumn {
			break
		}
		widths[i] = columns[i].width
		left -= need
	}
	grow := func(i, most int) {
		if widths[i] > 0 {
			by := max(min(most-widths[i], left), 0)
			widths[i] += by
			left -= by
		}
	}
	grow(nameColumn, min(longest, maxName))
	grow(sparkColumn, sparkLength/2)
	grow(whyColumn, 2*columns[whyColumn].width)
	grow(sparkColumn, sparkLength)
	grow(whyColumn, width)
	return widths
}

// name is the name of a row; where it has no state beside it, with the mark of that.
func name(v *view, r *row, _ int) string {
	mark := ""
	if v.stateless && r.kind != aListener {
		mark = v.mark(r.standing) + " "
	}
	if r.kind == aServer {
		return " " + mark + r.server
	}
	return mark + r.name
}

func state(v *view, r *row, _ int) string {
	if r.kind == aListener {
		return "  " + r.state
	}
	return v.mark(r.standing) + " " + r.state
}

func since(v *view, r *row, _ int) string {
	if r.since.IsZero() {
		return ""
	}
	return age(v.picture.at.Sub(r.since).Truncate(time.Second))
}

func worse(a, b *row) int {
	return cmp.Or(cmp.Compare(rank[a.standing], rank[b.standing]), strings.Compare(a.state, b.state))
}

// rank is the order of standings, worst first.
var rank = [...]int{bad: 0, warning: 1, open: 2, good: 3}
