package admin

import (
	"net/http"
	"time"
)

// An Explanation is the body of GET /explain: what a pool's algorithm sees at one
// moment, and what it would do.
type Explanation struct {
	Pool      string            `json:"pool"`
	Listeners []string          `json:"listeners"` // that feed the pool
	Algorithm string            `json:"algorithm"`
	Next      string            `json:"next,omitempty"` // the server that the next connection or request would get; "": none
	Why       string            `json:"why"`            // that one, or none, in words
	Servers   []ExplainedServer `json:"servers"`
	Queue     ExplainedQueue    `json:"queue"`
	Retries   ExplainedRetries  `json:"retries"`
}

// An ExplainedServer is a server as the algorithm sees it.
type ExplainedServer struct {
	Address        string    `json:"address"`
	Resolved       string    `json:"resolved,omitempty"` // where the address leads; "": that is not known, and connecting to it fails
	State          string    `json:"state"`              // as a Server's
	Since          time.Time `json:"since"`
	Reason         string    `json:"reason,omitempty"`
	Weight         int       `json:"weight"`
	MaxConnections int       `json:"max_connections"` // 0: no limit
	Active         int64     `json:"active"`
	Score          float64   `json:"score"`              // active by weight; least_connections chooses among those with the least
	Excluded       string    `json:"excluded,omitempty"` // why it cannot be chosen, in words; "": it can
}

// An ExplainedQueue is who waits for a server.
type ExplainedQueue struct {
	Waiting int `json:"waiting"`
	Length  int `json:"length"` // how many may; 0: nobody
}

// ExplainedRetries is how many connections and requests that have failed may go to
// another server.
type ExplainedRetries struct {
	Attempts int `json:"attempts"` // for each, after the first
	Percent  int `json:"percent"`  // of the traffic of the last 10 seconds
	Left     int `json:"left"`     // now, of all together
}

var explainParams = []string{"pool", "listener"}

func (h *handler) explain(w http.ResponseWriter, r *http.Request) error {
	query, err := parameters(r.URL.RawQuery, explainParams)
	if err != nil {
		return err
	}
	for name, text := range query {
		if _, err := bounded(name, text); err != nil {
			return err
		}
	}
	explanation, err := h.controller.Explain(query["pool"], query["listener"])
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, explanation)
}
