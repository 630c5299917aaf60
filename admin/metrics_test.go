package admin

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// measure is what answers GET /metrics.
func measure(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "asked_by %q\n", r.Method)
}

// Who shows metrics need not know of admin; it is asked like any other route.
func TestMetricsAreHandedOn(t *testing.T) {
	w := start(t)
	for _, method := range []string{"GET", "HEAD"} {
		response, text := w.do(method, "/metrics", nil)
		want := map[string]string{"GET": "asked_by \"GET\"\n"}[method]
		if response.StatusCode != 200 || text != want || response.Header.Get("Content-Type") != "text/plain; version=0.0.4" ||
			response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d %q, %v", method, response.StatusCode, text, response.Header)
		}
	}
	w.wantStatus(405, "POST", "/metrics")
	w.wantStatus(403, "GET", "/metrics", "Sec-Fetch-Site", "cross-site")
	if _, text := w.do("GET", "/", nil); !strings.Contains(text, "GET     /metrics ") {
		t.Errorf("not among the routes: %s", text)
	}
}

func TestNoMetrics(t *testing.T) {
	l := bound(t, Options{Controller: &fake{}})
	l.Start()
	defer l.Stop(soon(t))
	response, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if response.StatusCode != 404 {
		t.Errorf("status %d", response.StatusCode)
	}
}
