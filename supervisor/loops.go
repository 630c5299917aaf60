package supervisor

import (
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"fulcrum/config"
	"fulcrum/loop"
)

const (
	perConnection = 2   // descriptors: the client's and the server's side
	otherUses     = 100 // descriptors for all else: listening sockets, health checks, logs
)

// processors returns how many processors the process was given, and sees to it
// that Go has one more: a busy loop keeps its own, and health checks and the admin
// listener must not wait for it.
var processors = sync.OnceValue(func() int {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return n
})

// prepareLoops makes a loop for each processor, and for each of the sockets that a
// listener inherits, if any listener needs them and there are none.
func (r *running) prepareLoops(was *running) (err error) {
	if len(was.loops) > 0 {
		if r.config.IO != was.config.IO {
			return fmt.Errorf("io: %q cannot become %q while the balancer runs; restart it", was.config.IO, r.config.IO)
		}
		return nil
	}
	if len(r.config.Listeners) == 0 {
		return nil
	}
	if r.io, err = chooseIO(r.config.IO); err != nil {
		return err
	}
	for range max(processors(), r.heritage.most()) {
		lp, err := loop.New(r.io, r.log)
		if err != nil {
			return fmt.Errorf("cannot make an event loop: %w", err)
		}
		r.loops = append(r.loops, lp)
	}
	return nil
}

// chooseIO returns what the config asks for.
func chooseIO(wanted string) (loop.IO, error) {
	switch wanted {
	case config.IOEpoll:
		return loop.Epoll, nil
	case config.IOUring:
		if err := loop.ProbeIOUring(); err != nil {
			return 0, fmt.Errorf("io_uring cannot be used: %w", err)
		}
		return loop.IOUring, nil
	}
	return loop.Auto(), nil
}

// tellDescriptors says how many connections the process's descriptors allow, and
// warns if the config asks for more, unless it was told so before. Go has raised the
// limit to what the system lets it have.
func (r *running) tellDescriptors(was *running) {
	if was.config != nil && r.maxConnections() == was.maxConnections() {
		return
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		r.log.Warn("the limit of file descriptors is not known", "error", err)
		return
	}
	r.log.Info("file descriptors", "limit", limit.Cur, "connections", connectionsWithin(limit.Cur))
	if asked := r.maxConnections(); asked > connectionsWithin(limit.Cur) {
		r.log.Warn("the tcp listeners' max_connections are more than the file descriptors allow",
			"max_connections", asked, "needed", perConnection*asked+otherUses, "limit", limit.Cur)
	}
}

func connectionsWithin(descriptors uint64) uint64 {
	return (max(descriptors, otherUses) - otherUses) / perConnection
}

// maxConnections returns how many connections the tcp listeners that have a limit
// may have together.
func (r *running) maxConnections() (sum uint64) {
	for _, l := range r.config.Listeners {
		sum += uint64(l.MaxConnections)
	}
	return sum
}
