package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// overEachIO runs a story once over each way in which event loops wait, side by
// side. The configs of the story's balancers are to say "io": io.
func overEachIO(t *testing.T, limit time.Duration, story func(w *world, io string)) {
	t.Helper()
	for _, io := range []string{"epoll", "io_uring"} {
		t.Run(io, func(t *testing.T) {
			w := newWorld(t, limit)
			w.needIO(io)
			story(w, io)
		})
	}
}

// needIO skips the test where the kernel has no io_uring, or forbids it.
func (w *world) needIO(io string) {
	w.Helper()
	if io != "io_uring" {
		return
	}
	if reason := withoutIOUring(); reason != "" {
		w.Skip(reason)
	}
}

// withoutIOUring returns what fulcrum says against io_uring, if anything. The
// config that it is asked with has an address that no machine has, so that it
// ends in any case, and names every reason.
var withoutIOUring = sync.OnceValue(func() string {
	const (
		refusal = "io_uring cannot be used"
		config  = `{"io": "io_uring", "pools": [{"name": "db", "servers": []}],
			"listeners": [{"name": "db", "protocol": "tcp", "address": "192.0.2.1:1", "pool": "db"}]}`
	)
	path := filepath.Join(filepath.Dir(raceBinary), "io_uring.json")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err.Error()
	}
	said, _ := exec.Command(raceBinary, "run", "--config", path).CombinedOutput()
	if _, why, found := strings.Cut(string(said), refusal); found {
		why, _, _ = strings.Cut(why, "\n")
		return refusal + why
	}
	return ""
})
