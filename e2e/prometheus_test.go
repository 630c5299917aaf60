package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A prometheus is a real one that scrapes balancers twice a second, and as often looks
// whether it has to raise one of the alarms of docs/alerts.yml.
type prometheus struct {
	*process
	w       *world
	address string
	jobs    int // each with one target
}

const prometheusConfig = `global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs:
%s`

// prometheus starts one with these scrape configs.
func (w *world) prometheus(scrapeConfigs ...string) *prometheus {
	w.Helper()
	rules, err := filepath.Abs("../docs/alerts.yml")
	w.must(err)
	folder := w.TempDir()
	config := filepath.Join(folder, "prometheus.yml")
	w.must(os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, rules, strings.Join(scrapeConfigs, "")), 0o600))
	p := &prometheus{w: w, address: w.freeAddress(), jobs: len(scrapeConfigs)}
	p.process = w.start(w.command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address="+p.address, "--log.level=warn"))
	w.eventually("prometheus is ready", func() bool {
		select {
		case <-p.ended:
			w.Fatalf("prometheus ended at once, exit code %d", p.code())
		default:
		}
		response, err := adminHTTP.Get("http://" + p.address + "/-/ready")
		if err == nil {
			response.Body.Close()
		}
		return err == nil && response.StatusCode == 200
	})
	return p
}

// scrapeConfig is what docs/metrics.md says to write for a balancer, without the line
// with the token if there is none.
func (w *world) scrapeConfig(job string, b *balancer, tokenFile string) string {
	w.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	w.must(err)
	block := regexp.MustCompile("(?s)```yaml\nscrape_configs:\n(.*?)```").FindSubmatch(page)
	if block == nil {
		w.Fatal("docs/metrics.md has no scrape_configs")
	}
	text := string(block[1])
	for written, here := range map[string]string{"job_name: fulcrum\n": "job_name: " + job + "\n", "127.0.0.1:9900": b.admin, "/etc/prometheus/fulcrum.token": tokenFile} {
		if !strings.Contains(text, written) {
			w.Fatalf("docs/metrics.md has no %q in its scrape_configs", written)
		}
		text = strings.Replace(text, written, here, 1)
	}
	if tokenFile == "" {
		text = regexp.MustCompile(`(?m)^ *authorization:.*\n`).ReplaceAllString(text, "")
	}
	return text
}

// get asks the HTTP API, and takes its data.
func (p *prometheus) get(path string, parameters url.Values, data any) error {
	response, err := adminHTTP.Get("http://" + p.address + "/api/v1/" + path + "?" + parameters.Encode())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status string
		Error  string
		Data   any
	}{Data: data}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Status != "success" {
		return fmt.Errorf("status %d, %q, %v", response.StatusCode, answer.Error, err)
	}
	return nil
}

// A sample is one of those that a query gives.
type sample struct {
	labels map[string]string
	value  float64
}

// query evaluates a query now. That it has no result is none of the errors.
func (p *prometheus) query(expr string) (all []sample, err error) {
	var data struct {
		ResultType string
		Result     []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := p.get("query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	if data.ResultType != "vector" {
		return nil, fmt.Errorf("the result is a %s", data.ResultType)
	}
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		all = append(all, sample{r.Metric, value})
	}
	return all, nil
}

// number is the value of a query for one sample, and false if there is none.
func (p *prometheus) number(expr string) (float64, bool) {
	p.w.Helper()
	all, err := p.query(expr)
	if err != nil || len(all) > 1 {
		p.w.Fatalf("%s: %v, error %v", expr, all, err)
	}
	if len(all) == 0 {
		return 0, false
	}
	return all[0].value, true
}

// A target is what is scraped.
type target struct {
	Labels    struct{ Job, Instance string }
	Health    string
	LastError string
}

func (p *prometheus) targets() map[string]target {
	p.w.Helper()
	var data struct{ ActiveTargets []target }
	p.w.must(p.get("targets", nil, &data))
	all := make(map[string]target)
	for _, t := range data.ActiveTargets {
		all[t.Labels.Job] = t
	}
	return all
}

// awaitUp waits until all targets were scraped.
func (p *prometheus) awaitUp() {
	p.w.Helper()
	p.w.eventually("all targets are up", func() bool {
		all := p.targets()
		for _, t := range all {
			if t.Health != "up" {
				return false
			}
		}
		return len(all) == p.jobs
	})
}

// A Prometheus is let in as docs/metrics.md says: anywhere on the machine without a
// token, and with one that may only read where there are tokens. There none is too
// little, and does not keep out who has one.
func TestPrometheusIsLetIn(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	tokenFile := filepath.Join(w.TempDir(), "token")
	w.must(os.WriteFile(tokenFile, []byte("the-secret-of-the-readers\n"), 0o600))
	closed := tcpOnly(w.echoServer())
	closed["admin"] = object{"address": "127.0.0.1:0", "tokens": []object{{"name": "metrics", "access": "read", "file": tokenFile}}}
	open, guarded := w.balance(tcpOnly(w.echoServer())), w.startBalancer(raceBinary, closed)
	p := w.prometheus(w.scrapeConfig("open", open, ""), w.scrapeConfig("guarded", guarded, tokenFile), w.scrapeConfig("stranger", guarded, ""))
	w.eventually("every target was scraped several times", func() bool {
		found, err := p.query(`count_over_time(up[1m]) > 3`)
		return err == nil && len(found) == p.jobs
	})
	w.eventually("who may is let in, and nobody else", func() bool {
		all := p.targets()
		return all["open"].Health == "up" && all["guarded"].Health == "up" &&
			all["stranger"].Health == "down" && strings.Contains(all["stranger"].LastError, "401")
	})
	for _, job := range []string{"open", "guarded"} {
		if n, there := p.number(fmt.Sprintf(`last_over_time(fulcrum_pool_servers{job=%q, pool="db"}[1m])`, job)); n != 1 || !there {
			t.Errorf("%s: %v servers (%v)", job, n, there)
		}
	}
	if _, there := p.number(`last_over_time(fulcrum_pool_servers{job="stranger"}[1m])`); there {
		t.Error("a stranger is told of servers")
	}
}
