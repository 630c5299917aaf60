// Package systemd tells the service manager how the process is, by sd_notify(3),
// for a unit of Type=notify: that it is ready, that it stops and how long that may
// take, and, where the unit has WatchdogSec, again and again that it still answers.
//
// Ready is called once all listeners listen, Status when it does something else than
// it did, Stopping when the end begins; Close must follow Ready. Without a service manager, which is without $NOTIFY_SOCKET,
// all of it does nothing. A message that cannot be sent is logged, and nothing
// else comes of it.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// grace is what is asked for beyond the time that a stop may take.
const grace = 10 * time.Second

// A Service is this process as the service manager sees it. Its methods may be
// called from any goroutine.
type Service struct {
	log   *slog.Logger
	end   context.CancelFunc
	watch sync.WaitGroup
}

// Ready says that the service is ready and what it is doing, in a few words, and
// starts to answer the watchdog if there is one: each half of its time answers is
// asked on a goroutine of the Service, and the watchdog is told when that returns
// true. It may take as long as it likes, and false is no answer either; it must
// return when ctx ends.
func Ready(log *slog.Logger, status string, answers func(ctx context.Context) bool) *Service {
	ctx, end := context.WithCancel(context.Background())
	s := &Service{log: log, end: end}
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog of the service manager is not understood", "error", err)
	}
	s.tell(daemon.SdNotifyReady, "STATUS="+status)
	if limit > 0 {
		s.watch.Go(func() { s.answer(ctx, limit/2, answers) })
	}
	return s
}

// Status says what the service is doing, in a few words.
func (s *Service) Status(status string) { s.tell("STATUS=" + status) }

// Reloading says that the service goes over to another config, for as long as until the
// function that it returns is called.
func (s *Service) Reloading() (done func()) {
	s.tell(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
	return func() { s.tell(daemon.SdNotifyReady) }
}

// Replaced says that another process is the service from now on. It is the one that the
// watchdog asks.
func (s *Service) Replaced(pid int) {
	s.Close()
	s.tell(fmt.Sprintf("MAINPID=%d", pid))
}

// Stopping says that the service stops and may take so long for it: the service
// manager then waits longer than its unit says, if need be.
func (s *Service) Stopping(within time.Duration) {
	s.tell(daemon.SdNotifyStopping,
		fmt.Sprintf("STATUS=stopping: work in flight may go on for %v", within),
		fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (within+grace).Microseconds()))
}

// Close ends the answers to the watchdog and waits for that.
func (s *Service) Close() {
	s.end()
	s.watch.Wait()
}

func (s *Service) answer(ctx context.Context, every time.Duration, answers func(context.Context) bool) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if answers(ctx) {
				s.tell(daemon.SdNotifyWatchdog)
			}
		}
	}
}

func (s *Service) tell(lines ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		s.log.Warn("the service manager cannot be told", "message", lines[0], "error", err)
	}
}
