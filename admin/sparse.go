package admin

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	maxSparse    = 10 // in a sparseWindow
	sparseWindow = time.Minute
)

// sparse is where the http.Server writes what goes wrong before there is a
// request. Anybody who can connect can have it do so, so that only some is logged.
type sparse struct {
	log *slog.Logger

	mu      sync.Mutex
	until   time.Time // end of the window; guarded by mu
	written int       // in the window, or left out above maxSparse; guarded by mu
}

func (s *sparse) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.After(s.until) {
		if left := s.written - maxSparse; left > 0 {
			s.log.Warn("messages of the admin listener were left out", "count", left)
		}
		s.until, s.written = now.Add(sparseWindow), 0
	}
	if s.written++; s.written <= maxSparse {
		s.log.Warn(strings.TrimSpace(string(line)))
	}
	return len(line), nil
}
