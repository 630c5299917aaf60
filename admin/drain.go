package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// A Drainer is the part of a Controller that takes the balancer as a whole out of use,
// so that what stands in front of it sends its clients elsewhere.
type Drainer interface {
	// Drain begins to drain, or changes the deadline of a drain under way: /healthz says
	// so, connections are still accepted, answers to requests are the last of their
	// connections, and at the deadline all that is left is closed.
	Drain(ctx context.Context, r DrainRequest) (DrainAnswer, error)

	// Undrain ends a drain, or with dryRun only says what the answer would be.
	Undrain(ctx context.Context, dryRun bool) (DrainAnswer, error)
}

// A DrainRequest says how to drain the balancer.
type DrainRequest struct {
	Timeout *time.Duration // until what is left is closed; nil: as the config says of a stop
	DryRun  bool           // only say what the answer would be
}

// A DrainAnswer is the body that answers a successful drain or undrain.
type DrainAnswer struct {
	DrainState
	DryRun bool `json:"dry_run"` // true: nothing was changed
}

// A DrainState says how it is about a drain of the balancer.
type DrainState struct {
	Draining  bool       `json:"draining"`
	Deadline  *time.Time `json:"deadline"`  // of the drain, RFC 3339 in JSON; nil: not draining
	Remaining *Remaining `json:"remaining"` // nil: the event loops did not tell in time
}

// Remaining is what is in flight on all listeners, and on those that a reload has taken
// out of use.
type Remaining struct {
	Connections   int64   `json:"connections"`    // of clients
	Requests      int64   `json:"requests"`       // among them, http requests and WebSockets
	OldestSeconds float64 `json:"oldest_seconds"` // how long the oldest tcp connection, request or WebSocket has been; 0: there is none
}

const maxDrain = 720 * time.Hour // as for every timeout in a config

var drainParams = []string{"timeout", "dry_run"}

func (h *handler) startDrain(w http.ResponseWriter, r *http.Request) error {
	said, err := readBodiless(w, r, drainParams)
	if err != nil {
		return err
	}
	request := DrainRequest{Timeout: said.timeout, DryRun: or(said.dryRun, false)}
	ctx, cancel := h.changing()
	defer cancel()
	drained, err := h.controller.Drain(ctx, request)
	if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	if !request.DryRun {
		h.changed(r, "balancer drained", "deadline", drained.Deadline)
	}
	return answer(w, http.StatusOK, drained)
}

func (h *handler) endDrain(w http.ResponseWriter, r *http.Request) error {
	said, err := readBodiless(w, r, dryParams)
	if err != nil {
		return err
	}
	dryRun := or(said.dryRun, false)
	ctx, cancel := h.changing()
	defer cancel()
	undrained, err := h.controller.Undrain(ctx, dryRun)
	if err != nil {
		return fmt.Errorf("undrain: %w", err)
	}
	if !dryRun {
		h.changed(r, "balancer undrained")
	}
	return answer(w, http.StatusOK, undrained)
}

// readBodiless reads a request to change the balancer as a whole, which has no ETag. It
// has no body, but may have these parameters.
func readBodiless(w http.ResponseWriter, r *http.Request, params []string) (said change, err error) {
	said, body, err := readChange(w, r, params)
	switch {
	case err != nil:
	case len(body) > 0 && len(params) == 0:
		err = Invalid("a body is not allowed here")
	case len(body) > 0:
		err = Invalid("a body is not allowed here; the parameters of the query are %s", list(params))
	case len(r.Header.Values("If-Match")) > 0 || len(r.Header.Values("If-None-Match")) > 0:
		err = &Refusal{http.StatusPreconditionFailed, "a condition is not understood here, for there is no ETag; leave out If-Match and If-None-Match"}
	}
	return said, err
}

// duration takes what a drain may wait, 0 being not at all.
func duration(name, value string) (*time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > maxDrain {
		return nil, Invalid("%q is %s; it must be a duration from 0s to 720h such as 1m30s", name, clip(value))
	}
	return &d, nil
}
