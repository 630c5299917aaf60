package admin

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// accessHeader tells who watches whether they may change something: "read" or "write".
const accessHeader = "Fulcrum-Access"

// errLeft ends a Watch whose stream is over.
var errLeft = errors.New("nobody is there to be told")

// live answers with what happens, as a stream of Live.
func (h *handler) live(w http.ResponseWriter, r *http.Request) error {
	access := "write"
	if c, _ := callerOf(r); c.readOnly {
		access = "read"
	}
	w.Header().Set(accessHeader, access)
	s, err := h.openStream(w, r)
	if err != nil {
		return err
	}
	defer s.end()
	h.controller.Watch(s.ctx, func(message []byte) error {
		fmt.Fprintf(&s.buffer, "data: %s\n\n", message)
		if !s.send() {
			return errLeft
		}
		return nil
	})
	return nil
}

// A Live is one message of GET /live. The first of a stream bring everything, with
// the last minutes; then one comes each second. Balancer, Listeners and Pools replace
// what a reader knew; Servers replace those that they name and leave the others as
// they were. A message has at most LiveServers of them, so that of very many servers
// each comes up every few seconds, those whose state has changed first.
type Live struct {
	At        time.Time      `json:"at"`
	Balancer  *LiveBalancer  `json:"balancer,omitempty"`  // nil: the message only brings more servers, and so has no Listeners and Pools
	Listeners []LiveListener `json:"listeners,omitempty"` // all, in the order of the config
	Pools     []LivePool     `json:"pools,omitempty"`     // likewise
	Gone      []LiveName     `json:"gone,omitempty"`      // servers that are in their pools no more; before Servers
	Servers   []LiveServer   `json:"servers,omitempty"`   // those that have news, of any pool
}

// LiveServers is how many servers a Live has at most.
const LiveServers = 1000

// A LiveBalancer is the balancer as a whole: the Sample is that of all listeners.
type LiveBalancer struct {
	Version     string     `json:"version"`
	Started     time.Time  `json:"started"`
	Ready       bool       `json:"ready"`              // fit to serve, as GET /healthz says
	Reason      string     `json:"reason,omitempty"`   // why it is not
	Draining    bool       `json:"draining"`           // by POST /drain
	Deadline    *time.Time `json:"deadline,omitempty"` // of that: what is left is closed then
	Connections int64      `json:"connections"`        // of clients, open now
	Sample
	History *History `json:"history,omitempty"` // in the first message of a stream
}

// A LiveListener is a listener and what goes through it.
type LiveListener struct {
	Name        string `json:"name"`
	Protocol    string `json:"protocol"`
	Address     string `json:"address"`
	Pool        string `json:"pool"`        // "": what no route is for is refused
	Routes      int    `json:"routes"`      // how many it has
	Connections int64  `json:"connections"` // of clients, open now
	Sample
	History *History `json:"history,omitempty"` // in the first message of a stream
}

// A LivePool is a pool: the Sample is that of its servers together.
type LivePool struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	Queued    int    `json:"queued"`  // how many wait for a server
	Servers   int    `json:"servers"` // how many it has
	Ready     int    `json:"ready"`   // of these
	Sample
	History *History `json:"history,omitempty"` // in the first message of a stream
}

// A LiveName says which server is meant.
type LiveName struct {
	Pool    string `json:"pool"`
	Address string `json:"address"`
}

// A LiveServer is a server and what goes to it.
type LiveServer struct {
	LiveName
	State          string    `json:"state"`           // one of those below
	Reason         string    `json:"reason"`          // as in Server: it may quote the server
	Since          time.Time `json:"since"`           // when it came to that State
	Source         string    `json:"source"`          // as in Server
	Weight         int       `json:"weight"`          // likewise
	MaxConnections int       `json:"max_connections"` // likewise
	Sample
	History *History `json:"history,omitempty"` // in the first messages of a stream
}

// The states of a server. It is chosen only in the first.
const (
	StateReady     = "ready"
	StateUnhealthy = "not healthy"
	StateUnchecked = "unchecked" // its first check is not over
	StateDraining  = "draining"
	StateDeleting  = "deleting" // drains, and is then gone
)

// A Sample is what happened within a second, or within the few for which it is one
// of very many servers' turn.
type Sample struct {
	Rate     float32 `json:"rate"`     // connections (tcp) or requests (http) that came or were given to it, a second
	Errors   float32 `json:"errors"`   // failures of servers, and of listeners to find one: of which the clients are not the cause; a second
	Received float32 `json:"received"` // bytes from clients, a second; of a request in the second of its end
	Sent     float32 `json:"sent"`     // bytes to clients, likewise
	Active   float32 `json:"active"`   // connections or requests at the end of it; a whole number
	P50MS    float32 `json:"p50_ms"`   // half of the servers' first bytes that came in it took no longer, in milliseconds; 0: none came
	P99MS    float32 `json:"p99_ms"`   // likewise 99 of 100
}

// A History is the last minutes, oldest first: for each member of Sample a column,
// all of one length, the last row of which is the Sample beside it. A column in which
// all is 0 is left out.
type History struct {
	Step     int       `json:"step"`   // seconds from one row to the next
	Length   int       `json:"length"` // rows
	Rate     []float32 `json:"rate,omitempty"`
	Errors   []float32 `json:"errors,omitempty"`
	Received []float32 `json:"received,omitempty"`
	Sent     []float32 `json:"sent,omitempty"`
	Active   []float32 `json:"active,omitempty"`
	P50MS    []float32 `json:"p50_ms,omitempty"`
	P99MS    []float32 `json:"p99_ms,omitempty"`
}
