package e2e_test

import (
	"flag"
	"fmt"
	"html"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var picture = flag.String("picture", "", "take a picture of fulcrum top for some minutes into `FILE`, an SVG")

// TestPicture takes the picture that README.md shows: go test ./e2e -run TestPicture -picture ../docs/top.svg
func TestPicture(t *testing.T) {
	if *picture == "" {
		t.Skip("no -picture is asked for")
	}
	const width, height = 96, 24
	w := newWorld(t, 10*time.Minute)
	admin := w.freeAddress()
	demo := w.start(w.command(plainBinary, "demo", "--load", "--admin", admin))
	w.eventually("the demo runs", func() bool { return strings.Contains(demo.stdout.String(), "Ctrl-C ends it.") })
	fast := regexp.MustCompile(`-X POST http://(\S+)/quit`).FindStringSubmatch(demo.stdout.String())[1]
	s := w.screen(width, height, plainBinary+" top --admin "+admin)
	s.awaits("live", "3/3 ready")
	time.Sleep(3 * time.Minute) // the picture shows them
	w.mustRun("curl", "-s", "-X", "POST", "http://"+fast+"/quit")
	s.awaits("✗ not healthy")
	s.press("G", "d")
	s.awaits("y/n")
	s.press("y")
	s.awaits("◌ draining")
	s.press("k")
	s.awaits("q quit")
	w.must(os.WriteFile(*picture, []byte(drawn(s.tmux("capture-pane", "-e", "-p"), width, height)), 0o644))
}

// renditions is what the program uses of those of ECMA-48, section 8.3.117, in CSS.
var renditions = map[string]string{
	"1": "font-weight:bold", "2": "opacity:.6", "31": "fill:#ff7b72", "32": "fill:#7ee787", "33": "fill:#e3b341", "34": "fill:#79c0ff",
}

// drawn draws a screen of text with renditions.
func drawn(text string, width, height int) string {
	const across, down, margin = 8.4, 18, 12
	var svg strings.Builder
	w, h := float64(width)*across+2*margin, height*down+2*margin
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" font-family="ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" fill="#e6edf3">`+"\n", w, h)
	fmt.Fprintf(&svg, `<title>fulcrum top</title><rect width="100%%" height="100%%" rx="8" fill="#0d1117"/>`+"\n")
	piece := regexp.MustCompile("\x1b\\[([0-9;]*)m|[^\x1b]+")
	on := map[string]bool{}
	for row, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		column, y := 0, margin+down*row
		for _, m := range piece.FindAllStringSubmatch(line, -1) {
			if strings.HasPrefix(m[0], "\x1b") {
				turn(on, m[1])
				continue
			}
			n := utf8.RuneCountInString(m[0])
			x := margin + across*float64(column)
			column += n
			style := ""
			for code := range on {
				style += renditions[code] + ";"
			}
			if on["7"] {
				fmt.Fprintf(&svg, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#e6edf3"/>`, x, y, across*float64(n), down)
				style = "fill:#0d1117"
			}
			if strings.TrimSpace(m[0]) != "" {
				fmt.Fprintf(&svg, `<text x="%.1f" y="%d" style="%s" textLength="%.1f" xml:space="preserve">%s</text>`+"\n", x, y+down-5, style, across*float64(n), html.EscapeString(m[0]))
			}
		}
	}
	return svg.String() + "</svg>\n"
}

// turn turns renditions on, or all off.
func turn(on map[string]bool, codes string) {
	for code := range strings.SplitSeq(codes, ";") {
		switch code {
		case "", "0":
			clear(on)
		case "39":
			for colour := range renditions {
				if len(colour) == 2 {
					delete(on, colour)
				}
			}
		case "22":
			delete(on, "1")
			delete(on, "2")
		case "27":
			delete(on, "7")
		default:
			on[code] = true
		}
	}
}
