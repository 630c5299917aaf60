package admin

import (
	"context"
	"fmt"
	"net/http"
)

// An Upgrader is the part of a Controller that has another process take the place of
// this one.
type Upgrader interface {
	// Upgrade starts a process of the binary and config file as they are now, and
	// returns its id once it serves new clients. After an error this one goes on.
	Upgrade(ctx context.Context) (pid int, err error)
}

// An UpgradeAnswer is the body that answers a successful upgrade.
type UpgradeAnswer struct {
	PID int `json:"pid"` // of the process that serves from now on
}

func (h *handler) upgrade(w http.ResponseWriter, r *http.Request) error {
	if _, err := readBodiless(w, r, nil); err != nil {
		return err
	}
	pid, err := h.controller.Upgrade(h.base)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	h.changed(r, "balancer upgraded", "pid", pid)
	return answer(w, http.StatusOK, UpgradeAnswer{pid})
}
