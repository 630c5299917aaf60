// Package dashboard is the page on which the admin listener shows what the balancer
// does: HTML, a style sheet, an icon and scripts, embedded as they are in the folder
// page. It needs no build and nothing from elsewhere.
//
// The page reads GET /live as it comes, draws what it is told, and makes changes by
// the API under /v1. Text that comes from the balancer, and so perhaps from servers, is
// never taken as HTML. A token is kept in the browser's sessionStorage, that is until
// the tab is closed.
//
// The scripts: model.js holds what is known, stream.js reads streams and sends
// requests, standing.js, view.js and rows.js show the model, chart.js draws, events.js
// lists events, dialogs.js and drain.js ask people, dom.js and format.js help them,
// main.js puts these together.
package dashboard

import (
	"embed"
	"fmt"
	"path"
	"slices"
)

// Policy is the Content-Security-Policy of the page and its parts: nothing but them
// is loaded, nothing in the page's text is run, and only this origin is talked to.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// A File is one file of the page.
type File struct {
	Path string // of its URL
	Type string // its Content-Type
	Text []byte // not to be changed
}

//go:embed page
var folder embed.FS

var files = readFiles()

// Page returns the file of the page itself, whose Path is "/".
func Page() File { return files[0] }

// Parts returns the files that the page loads. The slice is not to be changed.
func Parts() []File { return files[1:] }

const index = "index.html"

func readFiles() []File {
	types := map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	entries, err := folder.ReadDir("page")
	if err != nil {
		panic(err)
	}
	var all []File
	for _, e := range entries {
		text, err := folder.ReadFile(path.Join("page", e.Name()))
		kind := types[path.Ext(e.Name())]
		if err != nil || kind == "" {
			panic(fmt.Sprintf("dashboard: page/%s cannot be served: %v", e.Name(), err))
		}
		f := File{Path: "/dashboard/" + e.Name(), Type: kind + "; charset=utf-8", Text: text}
		if e.Name() == index {
			f.Path = "/"
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b File) int { return len(a.Path) - len(b.Path) })
	return all
}
