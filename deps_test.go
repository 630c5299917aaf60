package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the one direction in which the packages import each other: what
// each may import of this module, its tests included. docs/architecture.md
// explains it.
var mayImport = map[string][]string{
	"fulcrum":                 {"supervisor", "config", "handover", "systemd", "demo", "doctor", "admin", "admin/client", "events", "top", "certtest"},
	"fulcrum/supervisor":      {"config", "admin", "l4", "httpproxy", "health", "resolve", "pool", "loop", "proxyproto", "accesslog", "stats", "series", "state", "events", "handover", "metrics", "certtest", "porttest"},
	"fulcrum/l4":              {"relay", "loop", "pool", "limit", "proxyproto", "l4/clienthello", "stats", "accesslog"},
	"fulcrum/httpproxy":       {"relay", "loop", "pool", "limit", "proxyproto", "stats", "accesslog", "httpproxy/route", "porttest"},
	"fulcrum/relay":           {"loop"},
	"fulcrum/health":          {"pool", "proxyproto", "watch", "porttest"},
	"fulcrum/admin":           {"dashboard", "events", "certtest"},
	"fulcrum/dashboard":       {},
	"fulcrum/certtest":        {},
	"fulcrum/porttest":        {},
	"fulcrum/admin/client":    {"admin", "events", "certtest", "porttest"},
	"fulcrum/events":          {},
	"fulcrum/top":             {"admin", "admin/client", "events", "top/quiet"},
	"fulcrum/top/quiet":       {},
	"fulcrum/pool":            {},
	"fulcrum/limit":           {},
	"fulcrum/proxyproto":      {},
	"fulcrum/l4/clienthello":  {},
	"fulcrum/httpproxy/route": {},
	"fulcrum/state":           {},
	"fulcrum/handover":        {},
	"fulcrum/stats":           {},
	"fulcrum/metrics":         {"stats"},
	"fulcrum/series":          {"stats"},
	"fulcrum/accesslog":       {},
	"fulcrum/resolve":         {"pool", "watch"},
	"fulcrum/watch":           {"pool"},
	"fulcrum/loop":            {},
	"fulcrum/config":          {},
	"fulcrum/doctor":          {"config"},
	"fulcrum/systemd":         {},
	"fulcrum/demo":            {},
	"fulcrum/e2e":             {},
	"fulcrum/bench":           {},
}

func TestImportsGoOneWay(t *testing.T) {
	const format = `{{.ImportPath}} {{join .Imports ","}},{{join .TestImports ","}},{{join .XTestImports ","}}`
	out, err := exec.Command("go", "list", "-f", format, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s is not in mayImport: say what it may import", name)
		}
		for imported := range strings.SplitSeq(imports, ",") {
			ours, ok := strings.CutPrefix(imported, "fulcrum/")
			if ok && imported != name && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s; of ours it may import %v", name, imported, allowed)
			}
		}
	}
}
