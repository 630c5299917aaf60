package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A question is what Prometheus is asked by the dashboard, or by docs/metrics.md.
type question struct {
	from, expr, legend string
}

// board is what docs/grafana.json has of queries.
type board struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func (w *world) board() (b board) {
	w.Helper()
	text, err := os.ReadFile("../docs/grafana.json")
	w.must(err)
	w.must(json.Unmarshal(text, &b))
	return b
}

// questions are all of them. None may stay without an answer: what has not happened is
// shown as 0.
func (w *world) questions() (all []question) {
	w.Helper()
	b := w.board()
	for _, p := range b.Panels {
		for _, t := range p.Targets {
			all = append(all, question{"panel " + p.Title, t.Expr, t.LegendFormat})
		}
	}
	for _, a := range b.Annotations.List {
		all = append(all, question{"annotation " + a.Name, strings.ReplaceAll(a.Expr, "$__rate_interval", annotationInterval), "{{instance}}"})
	}
	page, err := os.ReadFile("../docs/metrics.md")
	w.must(err)
	for _, row := range regexp.MustCompile("(?m)^\\| (.*\\?.*) \\| `(.*)` \\|$").FindAllStringSubmatch(string(page), -1) {
		all = append(all, question{row[1], strings.ReplaceAll(row[2], `\|`, "|"), ""})
	}
	if len(all) < 50 {
		w.Fatalf("only %d questions", len(all))
	}
	return all
}

// everyValue is what Grafana puts in for variables of which All is chosen, and for its
// own at the finest zoom: four times the interval between scrapes. A step of
// annotations is a minute at least.
var everyValue = map[string]string{"instance": ".*", "pool": ".*", "listener": ".*", "__rate_interval": "2s"}

const annotationInterval = "61s"

// chosen is what Grafana puts in when all values are chosen one by one. It asks for
// them as Grafana does.
func (p *prometheus) chosen(b board) map[string]string {
	p.w.Helper()
	variables := maps.Clone(everyValue)
	for _, v := range b.Templating.List {
		asked := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Definition)
		if asked == nil {
			continue
		}
		var values []string
		p.w.must(p.get("label/"+asked[2]+"/values", url.Values{"match[]": {filled(asked[1], variables)}}, &values))
		if len(values) == 0 {
			p.w.Errorf("variable %s has no values", v.Name)
		}
		for i := range values {
			values[i] = strings.ReplaceAll(regexp.QuoteMeta(values[i]), `\`, `\\`)
		}
		variables[v.Name] = "(" + strings.Join(values, "|") + ")"
	}
	return variables
}

func filled(query string, variables map[string]string) string {
	return regexp.MustCompile(`\$\w+`).ReplaceAllStringFunc(query, func(v string) string { return variables[v[1:]] })
}

// answers reports as an error that there is nothing to be shown, or things that cannot
// be told from each other.
func (p *prometheus) answers(q question, variables map[string]string) error {
	all, err := p.query(filled(q.expr, variables))
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(s sample) bool { return !math.IsNaN(s.value) && !math.IsInf(s.value, 0) }) {
		return fmt.Errorf("no number in %v", all)
	}
	names := make(map[string]bool)
	for _, s := range all {
		name := regexp.MustCompile(`\{\{\w+\}\}`).ReplaceAllStringFunc(q.legend, func(l string) string {
			value, there := s.labels[strings.Trim(l, "{}")]
			if !there {
				err = fmt.Errorf("the legend has %s, which %v has not", l, s.labels)
			}
			return value
		})
		if names[name] && q.legend != "" {
			return fmt.Errorf("two are called %q in %v", name, all)
		}
		names[name] = true
	}
	return err
}

// answersAll waits until each question has had an answer.
func (p *prometheus) answersAll(questions []question, variables map[string]string) {
	p.w.Helper()
	var unanswered []string
	defer func() {
		for _, u := range unanswered {
			p.w.Error(u)
		}
	}()
	left := slices.Clone(questions)
	p.w.eventually("every question has an answer", func() bool {
		unanswered = nil
		left = slices.DeleteFunc(left, func(q question) bool {
			err := p.answers(q, variables)
			if err != nil {
				unanswered = append(unanswered, fmt.Sprintf("%s: %s: %v", q.from, filled(q.expr, variables), err))
			}
			return err == nil
		})
		return len(left) == 0
	})
}

// observed is a config of which everything is used: two http pools and one whose server
// holds requests, and a tcp pool.
func (w *world) observed(web []object, api, held, db string) object {
	health := object{"interval": "10s", "timeout": "10s", "rise": 1}
	return object{
		"listeners": []object{
			{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web",
				"access_log": filepath.Join(w.TempDir(), "access.log"),
				"routes":     []object{{"path": "/api", "pool": "api"}, {"path": "/held", "pool": "held"}}},
			{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "db"},
		},
		"pools": []object{
			{"name": "web", "servers": web, "health": health},
			{"name": "api", "servers": []string{api}, "health": health},
			{"name": "held", "servers": []string{held}, "health": health},
			{"name": "db", "servers": []string{db}, "health": health},
		},
	}
}

// Of two balancers with the same servers every query of the dashboard and of the page
// has an answer, with lines that can be told apart; and the sums that Prometheus makes
// are what the balancer says, and what the clients and the test know.
func TestGrafana(t *testing.T) {
	w := newWorld(t, 30*time.Second)
	web, db, gate := w.nginxes("one", "two"), w.redis("db"), w.gate("held")
	api := w.httpServer(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "close") // so that there are connects to be measured
		io.WriteString(rw, "api")
	})
	limited := []object{{"address": web[0].address, "max_connections": 100}, {"address": web[1].address}}
	var balancers [2]*balancer
	var loads [2][]*load
	var configs []string
	for i := range balancers {
		b := w.balance(w.observed(limited, api, gate.address, db.address))
		balancers[i], configs = b, append(configs, w.scrapeConfig(fmt.Sprint("fulcrum", i), b, ""))
		loads[i] = []*load{
			w.load("web", b.listeners["web"], 2, keepAlive),
			w.load("api", b.listeners["web"], 1, func(conn net.Conn, r *bufio.Reader) (string, bool, error) {
				return askHTTP(conn, r, "GET /api HTTP/1.1\r\nHost: e2e\r\n\r\n")
			}),
			w.load("db", b.listeners["db"], 1, once(redisName)),
		}
	}
	p := w.prometheus(configs...)
	p.awaitUp()
	for _, b := range balancers {
		b.reloaded("/reload")
	}
	questions := w.questions()
	p.answersAll(questions, everyValue)
	p.answersAll(questions, p.chosen(w.board()))
	p.awaitCalm("critical")
	var held []<-chan answer
	for i, b := range balancers {
		for _, l := range loads[i] {
			l.stop()
			l.wantNoFailure()
		}
		held = append(held, w.getLater(b.listeners["web"], "/held"))
		receive(w, "a request is held", gate.arrived)
		conn := w.dial(b.listeners["db"])
		if _, _, err := redisName(conn, bufio.NewReader(conn)); err != nil {
			t.Error(err)
		}
	}
	for i, b := range balancers {
		answered, connected := loads[i][0].ok.Load()+loads[i][1].ok.Load(), loads[i][2].ok.Load()
		p.awaitAgreement(b, map[string]int64{
			"fulcrum_http_requests_total":       answered + 1,
			"fulcrum_http_requests_ended_total": answered,
			"fulcrum_http_active_requests":      1,
			"fulcrum_http_open_connections":     1,
			"fulcrum_tcp_connections_total":     connected + 1,
			"fulcrum_tcp_active_connections":    1,
			"fulcrum_server_active":             2,
		})
	}
	gate.open()
	for _, later := range held {
		if a := receive(w, "the held request is answered", later); a.status != 200 {
			t.Errorf("held: %+v", a)
		}
	}
}

// awaitAgreement waits until sums over a balancer are these, and all that is said of
// traffic by GET /servers and /listeners is what Prometheus has.
func (p *prometheus) awaitAgreement(b *balancer, sums map[string]int64) {
	p.w.Helper()
	want := make(map[string]int64)
	for metric, n := range sums {
		want[fmt.Sprintf("sum(%s{instance=%q})", metric, b.admin)] = n
	}
	var differing []string
	defer func() {
		for _, d := range differing {
			p.w.Error(d)
		}
	}()
	p.w.eventually("Prometheus and the balancer agree", func() bool {
		http, _ := b.httpTraffic()
		tcp := b.traffic("db")
		listener := func(metric, name, more string, n int64) {
			want[fmt.Sprintf("sum(%s{instance=%q,listener=%q%s})", metric, b.admin, name, more)] = n
		}
		listener("fulcrum_http_requests_total", "web", "", http.Requests)
		listener("fulcrum_http_requests_ended_total", "web", `,ending="answered"`, http.Endings["answered"])
		listener("fulcrum_http_answers_total", "web", `,status="2xx"`, http.Statuses["2xx"])
		listener("fulcrum_http_sent_bytes_total", "web", "", http.Sent)
		listener("fulcrum_http_connects_total", "web", "", http.Connects)
		listener("fulcrum_http_reuses_total", "web", "", http.Reuses)
		listener("fulcrum_http_first_byte_seconds_count", "web", "", http.FirstByte.Count)
		listener("fulcrum_tcp_connections_total", "db", "", tcp.Accepted)
		listener("fulcrum_tcp_connections_ended_total", "db", `,ending="client_closed"`, tcp.Ends["client_closed"])
		listener("fulcrum_tcp_to_client_bytes_total", "db", "", tcp.ToClient)
		for pool, servers := range b.pools() {
			for _, s := range servers {
				by := fmt.Sprintf("{instance=%q,pool=%q,server=%q}", b.admin, pool, s.Address)
				want["fulcrum_server_active"+by] = s.Active
				want["fulcrum_server_chosen_total"+by] = s.Total
				want["fulcrum_server_failures_total"+by] = s.Failures
			}
		}
		differing = nil
		for expr, n := range want {
			if got, there := p.number(expr); !there || got != float64(n) {
				differing = append(differing, fmt.Sprintf("%s is %v (there: %v), want %d", expr, got, there, n))
			}
		}
		return len(differing) == 0
	})
}
