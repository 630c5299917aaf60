package main

import (
	"bytes"
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	barWidth   = 18 * vg.Inch / 96 // room for the value above it
	barGap     = 26 * vg.Inch / 96 // between scenarios
	chartTop   = 3.0               // the highest bar that is drawn in full
	axisRoom   = 40 * vg.Inch / 96
	legendRoom = 130 * vg.Inch / 96 // to the right of the bars
)

// barColors are told apart by people who do not see all colors, too.
var barColors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff}, color.RGBA{0x99, 0x99, 0x99, 0xff},
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0xf0, 0xe4, 0x42, 0xff},
}

// chartRatio is what a bar shows: what the proxy's work costs, in CPU time, or in memory
// when connections are idle.
func chartRatio(r row, sc scenario) float64 {
	if sc.Load == idleLoad {
		return r.MemoryRatio
	}
	return r.CPURatio
}

// writeChart returns a bar chart as SVG: what each proxy costs in each scenario
// relative to the better peer. It fails when no peer was measured.
func writeChart(r report) ([]byte, error) {
	groups := slices.DeleteFunc(slices.Clone(r.Scenarios), func(sc scenario) bool {
		return !slices.ContainsFunc(r.Rows, func(row row) bool { return row.Scenario == sc.Name && chartRatio(row, sc) > 0 })
	})
	contenders := slices.DeleteFunc(slices.Clone(r.Contenders), func(c about) bool { return !hasBars(r, groups, c.Name) })
	if len(groups) == 0 {
		return nil, fmt.Errorf("chart: nothing to compare with: neither of %s was measured", strings.Join(peers, ", "))
	}
	groupWidth := barWidth*vg.Length(len(contenders)) + barGap
	p := newPlot(groups, float64(legendRoom/groupWidth))
	var values []plot.Plotter
	for i, c := range contenders {
		offset := barWidth * vg.Length(float64(i)-float64(len(contenders)-1)/2)
		marks, err := addBars(p, c.Name, barValues(r, groups, c.Name), offset, barColors[i%len(barColors)])
		if err != nil {
			return nil, fmt.Errorf("chart: %w", err)
		}
		values = append(values, marks)
	}
	// Added after all bars, so that none hides the value of its neighbour.
	p.Add(values...)
	width := vg.Length(len(groups))*groupWidth + axisRoom + legendRoom
	canvas := vgsvg.New(max(width, 6*vg.Inch), 4.5*vg.Inch)
	p.Draw(draw.New(canvas))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	return out.Bytes(), nil
}

// barValues returns a contender's bars, one for each scenario; 0 is none.
func barValues(r report, groups []scenario, contender string) plotter.Values {
	values := make(plotter.Values, len(groups))
	for at, sc := range groups {
		for _, row := range r.Rows {
			if row.Scenario == sc.Name && row.Contender == contender {
				values[at] = chartRatio(row, sc)
			}
		}
	}
	return values
}

func hasBars(r report, groups []scenario, contender string) bool {
	return slices.ContainsFunc(barValues(r, groups, contender), func(v float64) bool { return v > 0 })
}

// newPlot returns a plot without bars, with room to the right of them, in widths
// of a group, for the legend.
func newPlot(groups []scenario, room float64) *plot.Plot {
	p := plot.New()
	p.Title.Text = "CPU time per unit of work (tcp-idle: memory), the better of " + strings.Join(peers, " and ") + " = 1; less is better"
	p.Title.Padding = vg.Points(8)
	p.Y.Min, p.Y.Max = 0, chartTop*1.2
	p.Legend.Top = true
	p.Legend.ThumbnailWidth = vg.Points(10)
	var names []string
	for _, sc := range groups {
		names = append(names, sc.Name)
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(groups))-0.5+room
	p.X.Tick.Label.Rotation = 0.5
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = text.XRight, text.YTop
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	p.Add(grid)
	return p
}

// addBars adds one contender's bars and returns the values that belong above them;
// what is too high for the chart is cut, the value says so.
func addBars(p *plot.Plot, name string, values plotter.Values, offset vg.Length, fill color.Color) (plot.Plotter, error) {
	heights := make(plotter.Values, len(values))
	labels := plotter.XYLabels{}
	for i, v := range values {
		heights[i] = min(v, chartTop)
		if v > 0 {
			labels.XYs = append(labels.XYs, plotter.XY{X: float64(i), Y: heights[i]})
			labels.Labels = append(labels.Labels, significant(v))
		}
	}
	bars, err := plotter.NewBarChart(heights, barWidth)
	if err != nil {
		return nil, err
	}
	bars.Color, bars.Offset, bars.LineStyle.Width = fill, offset, 0
	marks, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, err
	}
	marks.Offset = vg.Point{X: offset, Y: vg.Points(2)}
	for i := range marks.TextStyle {
		marks.TextStyle[i].Font.Size = vg.Points(6)
		marks.TextStyle[i].XAlign = text.XCenter
	}
	p.Add(bars)
	p.Legend.Add(name, bars)
	return marks, nil
}
