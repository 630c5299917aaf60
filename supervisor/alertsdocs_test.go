package supervisor

import (
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rule is one of docs/alerts.yml.
type rule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	parseDoc(t, "alerts.yml", &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("only %d rules", len(all))
	}
	return all
}

func parseDoc(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(doc(t, name)), into); err != nil {
		t.Fatal(err)
	}
}

// The rules ask for what there is, and say what is wrong.
func TestAlerts(t *testing.T) {
	text, all := everything(t)
	for _, r := range alerts(t) {
		checkQuery(t, all, r.Expr)
		if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
			t.Errorf("incomplete: %+v", r)
		}
	}
	promtool(t, "", "check", "rules", filepath.Join("..", "docs", "alerts.yml"))
	promtool(t, text, "check", "metrics")
}

// Each rule fires when it has to and is quiet when it has not, by Prometheus's own
// account, on series such as there are.
func TestAlertsFire(t *testing.T) {
	var examples struct {
		Tests []struct {
			Series []struct{ Series string } `yaml:"input_series"`
			Checks []struct {
				Name  string `yaml:"alertname"`
				Fires []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	parseDoc(t, "alerts_test.yml", &examples)
	_, all := everything(t)
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, test := range examples.Tests {
		for _, s := range test.Series {
			checkSeries(t, all, s.Series)
		}
		for _, c := range test.Checks {
			if len(c.Fires) > 0 {
				fires[c.Name] = true
			} else {
				quiet[c.Name] = true
			}
		}
	}
	for _, r := range alerts(t) {
		if !fires[r.Alert] || !quiet[r.Alert] {
			t.Errorf("%s: fires in an example: %v; is quiet in one: %v; want both", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
	}
	promtool(t, "", "test", "rules", filepath.Join("..", "docs", "alerts_test.yml"))
}

// checkSeries holds a series of an example against what is shown: the name, all labels,
// and the values of those that come from lists in the code.
func checkSeries(t *testing.T, all map[string]*shown, series string) {
	t.Helper()
	name, rest, _ := strings.Cut(series, "{")
	s := all[name]
	if name == "up" {
		return // Prometheus's own
	}
	if s == nil {
		t.Errorf("%s is not shown", name)
		return
	}
	given := make(map[string]string)
	for _, l := range labelPattern.FindAllStringSubmatch(rest, -1) {
		given[l[1]] = l[2]
	}
	for _, l := range []string{"le", "ending", "status"} {
		if value, there := given[l]; there && !s.values[l][value] {
			t.Errorf("%s of %s is never %s", l, name, value)
		}
	}
	for _, l := range []string{"instance", "job", "le"} {
		delete(given, l)
	}
	if labels := strings.Join(slices.Sorted(maps.Keys(given)), ", "); labels != s.labels {
		t.Errorf("%s has the labels %s, not %s", name, s.labels, labels)
	}
}

// promtool runs Prometheus's own check.
func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not installed; scripts/test installs what the tests need")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
