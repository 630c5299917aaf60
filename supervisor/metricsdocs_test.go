package supervisor

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A shown is a metric as it is really shown.
type shown struct {
	kind, labels string
	values       map[string]map[string]bool // that its labels have
}

var samplePattern = regexp.MustCompile(`^(\w+)(?:\{(.*)\})? \S+$`)
var labelPattern = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)

// shownBy reads what a scrape shows: every metric by its name, and by those that a
// histogram has in queries.
func shownBy(t *testing.T, text string) map[string]*shown {
	t.Helper()
	all := make(map[string]*shown)
	var now *shown
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(strings.TrimSpace(rest), " ")
			now = &shown{kind: kind, values: make(map[string]map[string]bool)}
			all[name] = now
			if kind == "histogram" {
				all[name+"_bucket"], all[name+"_count"], all[name+"_sum"] = now, now, now
			}
			continue
		}
		m := samplePattern.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		for _, l := range labelPattern.FindAllStringSubmatch(m[2], -1) {
			if now.values[l[1]] == nil {
				now.values[l[1]] = make(map[string]bool)
			}
			now.values[l[1]][l[2]] = true
		}
	}
	for _, s := range all {
		s.labels = strings.Join(slices.DeleteFunc(slices.Sorted(maps.Keys(s.values)), func(l string) bool { return l == "le" }), ", ")
	}
	return all
}

// everything is what is shown of a balancer of which all has been used.
func everything(t *testing.T) (text string, all map[string]*shown) {
	t.Helper()
	w := startKnownRun(t, replies(t), replies(t), echo(t, "a"), resetting(t))
	dial(t, w.address("web")).ask("api.test", "/v1/", "")
	e := dial(t, w.address("echo"))
	e.say("hello")
	e.Close()
	w.wantSamples(map[string]float64{`fulcrum_tcp_connections_ended_total{ending="client_closed",listener="echo"}`: 1})
	text, _ = w.scrape()
	return text, shownBy(t, text)
}

func doc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The page has every metric of the balancer's, with its type and labels, and no other.
func TestThePageOfMetrics(t *testing.T) {
	page := doc(t, "metrics.md")
	_, all := everything(t)
	row := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([\\w, ]*?) ?\\| (.*) \\|$")
	explained := make(map[string]bool)
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		name, kind, labels := m[1], m[2], strings.Split(m[3], ", ")
		slices.Sort(labels)
		if explained[name] {
			t.Errorf("%s is explained twice", name)
		}
		explained[name] = true
		if s := all[name]; s == nil {
			t.Errorf("%s is not shown", name)
		} else if kind != s.kind || strings.Join(labels, ", ") != s.labels {
			t.Errorf("%s is a %s by %s, not a %s by %q", name, s.kind, s.labels, kind, labels)
		}
	}
	for name, s := range all {
		base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "fulcrum_") && !explained[name] && !(s.kind == "histogram" && explained[base]) {
			t.Errorf("%s is not explained", name)
		}
	}
	for _, metric := range []string{"fulcrum_tcp_connections_ended_total", "fulcrum_http_requests_ended_total"} {
		for ending := range all[metric].values["ending"] {
			if !strings.Contains(page, "`"+ending+"`") {
				t.Errorf("ending %s is not explained", ending)
			}
		}
	}
	for _, query := range regexp.MustCompile("(?m)^\\| .*\\? .*\\| `(.*)` \\|$").FindAllStringSubmatch(page, -1) {
		checkQuery(t, all, strings.ReplaceAll(query[1], `\|`, "|"))
	}
}

// words are what may be in a query besides metrics, labels and numbers.
var words = strings.Fields("up sum min max by rate increase changes last_over_time histogram_quantile and or on group_left time m h s label_values")

// checkQuery holds a query against what is shown: its metrics, their labels and the
// values that are asked for.
func checkQuery(t *testing.T, all map[string]*shown, query string) {
	t.Helper()
	selector := regexp.MustCompile(`(\w+)\{([^}]*)\}`)
	for _, m := range selector.FindAllStringSubmatch(query, -1) {
		for _, l := range regexp.MustCompile(`(\w+)=~?"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
			s := all[m[1]]
			if s == nil || l[1] == "instance" {
				continue
			}
			if s.values[l[1]] == nil {
				t.Errorf("%s has no label %s: %s", m[1], l[1], query)
			}
			if l[1] != "ending" && l[1] != "status" && l[1] != "result" {
				continue
			}
			for alternative := range strings.SplitSeq(l[2], "|") {
				pattern := regexp.MustCompile("^(?:" + alternative + ")$")
				if !slices.ContainsFunc(slices.Collect(maps.Keys(s.values[l[1]])), pattern.MatchString) {
					t.Errorf("%s of %s is never %s: %s", l[1], m[1], alternative, query)
				}
			}
		}
	}
	bare := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(query, "")
	bare = regexp.MustCompile(`\{[^}]*\}|\[[^]]*\]|\$\w+`).ReplaceAllString(bare, "")
	metrics, labels := []*shown{}, []string{}
	for _, word := range regexp.MustCompile(`[a-zA-Z_]\w*`).FindAllString(bare, -1) {
		switch s := all[word]; {
		case s != nil:
			metrics = append(metrics, s)
		case slices.Contains(words, word):
		default:
			labels = append(labels, word)
		}
	}
	if len(metrics) == 0 {
		t.Errorf("no metric in %s", query)
	}
	for _, l := range labels {
		known := slices.ContainsFunc(metrics, func(s *shown) bool { return s.values[l] != nil })
		if !known && l != "instance" && l != "job" {
			t.Errorf("%s is neither a metric nor a label of one: %s", l, query)
		}
	}
}

// A panel is what the test looks at of one in the dashboard.
type panel struct {
	ID         int
	Title      string
	Type       string
	Datasource *struct{ UID string }
	GridPos    struct{ H, W, X, Y int }
	Targets    []struct {
		Expr       string
		Datasource *struct{ UID string }
	}
}

func (p *panel) overlaps(o *panel) bool {
	a, b := p.GridPos, o.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// The dashboard asks for what there is, of the data source that is chosen.
func TestDashboardForGrafana(t *testing.T) {
	_, all := everything(t)
	var board struct {
		UID, Title    string
		SchemaVersion int
		Panels        []*panel
		Annotations   struct{ List []struct{ Expr string } }
		Templating    struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	text := doc(t, "grafana.json")
	if err := json.Unmarshal([]byte(text), &board); err != nil {
		t.Fatal(err)
	}
	if board.SchemaVersion < 37 || board.UID == "" || len(board.Panels) < 20 {
		t.Errorf("schema %d, uid %q, %d panels", board.SchemaVersion, board.UID, len(board.Panels))
	}
	// Not $__interval: it may have but one sample in it.
	variables := map[string]bool{"__rate_interval": true, "__all": true}
	var queries []string
	for _, v := range board.Templating.List {
		if variables[v.Name] = true; v.Type == "query" {
			checkQuery(t, all, v.Definition)
		}
	}
	for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(text, -1) {
		if !variables[m[1]] {
			t.Errorf("variable %s is not defined", m[1])
		}
	}
	for _, a := range board.Annotations.List {
		queries = append(queries, a.Expr)
	}
	for i, p := range board.Panels {
		for _, other := range board.Panels[:i] {
			if p.ID == other.ID || p.overlaps(other) {
				t.Errorf("panels %q and %q are in each other's place", other.Title, p.Title)
			}
		}
		if p.GridPos.X+p.GridPos.W > 24 || p.Type != "row" && (p.Datasource == nil || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0) {
			t.Errorf("panel %q: %+v", p.Title, p)
		}
		for _, target := range p.Targets {
			if target.Datasource == nil || target.Datasource.UID != "${datasource}" {
				t.Errorf("panel %q asks another data source", p.Title)
			}
			queries = append(queries, target.Expr)
		}
	}
	rules := map[string]any{"groups": []any{map[string]any{"name": "all", "rules": asRules(queries)}}}
	for _, q := range queries {
		checkQuery(t, all, q)
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	written, err := yaml.Marshal(rules)
	if err == nil {
		err = os.WriteFile(file, written, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}

// asRules makes rules of a dashboard's queries, for promtool to parse.
func asRules(queries []string) (rules []any) {
	for i, q := range queries {
		rules = append(rules, map[string]any{"record": fmt.Sprintf("query:%d", i), "expr": strings.ReplaceAll(q, "$__rate_interval", "5m")})
	}
	return rules
}
