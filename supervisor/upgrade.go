package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"fulcrum/admin"
	"fulcrum/events"
	"fulcrum/handover"
	"fulcrum/loop"
	"fulcrum/pool"
)

// upgradeTimeout is how long the new process has, at most, until it serves clients.
const upgradeTimeout = 25 * time.Second

// endsBy is how long a new process that has failed has to end by itself.
const endsBy = 200 * time.Millisecond

// A reason is why something failed, as the new process tells.
type reason string

func (r reason) Error() string { return string(r) }

// errUpgrading is why nothing is changed while another process takes over: it has read
// what there is to know already.
var errUpgrading = admin.Conflict("another process is taking over; try again in a moment")

// upgrade is the part of a Supervisor that has to do with the process after it.
type upgrade struct {
	by       atomic.Pointer[successor] // nil: there can be none
	replaced chan struct{}             // closed when another process serves new clients
	under    bool                      // nothing may be recorded any more; guarded by Supervisor.changes
	link     *handover.Link            // to that process; written before replaced is closed
	heirs    map[*listener]bool        // the listeners that it goes on with, likewise
	told     *tally                    // what it knows was counted here, likewise
	unlocked bool                      // the state file is left to it; guarded by Supervisor.reloads
}

// A successor is how the process after this one comes about.
type successor struct {
	command  func() (*exec.Cmd, error)
	announce func(pid int)
}

// UpgradeBy says how the process is started that is to take the place of this one, and
// what is to be done when it has, before it is told so.
func (s *Supervisor) UpgradeBy(command func() (*exec.Cmd, error), announce func(pid int)) {
	s.upgrade.by.Store(&successor{command, announce})
}

// Replaced is closed when another process has taken this one's place: Stop is to be
// called then.
func (s *Supervisor) Replaced() <-chan struct{} { return s.upgrade.replaced }

// Upgrade starts a process with the listening sockets of this one, that reads the
// config anew, and returns once that serves new clients. What is open here moves there
// in Stop, as far as it can. After an error, which says why the new process did not
// come about, this one goes on as if nothing had been.
func (s *Supervisor) Upgrade(ctx context.Context) (pid int, err error) {
	if os.Getpid() == 1 {
		return 0, admin.Conflict("this is process 1 of its container, which ends with it; start another container instead")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ending, func() { cancel(errStopping) })()
	ctx, end := context.WithTimeoutCause(ctx, upgradeTimeout, errors.New("it took too long"))
	defer end()
	select {
	case s.reloads <- struct{}{}:
		defer func() { <-s.reloads }()
	case <-ctx.Done():
		return 0, givenUp(ctx)
	}
	if s.upgrade.by.Load() == nil {
		return 0, admin.Conflict("this balancer cannot start another process in its place")
	}
	if err := s.suspendChanges(); err != nil {
		return 0, err
	}
	pid, err = s.startHeir(ctx)
	if err != nil {
		s.resumeChanges()
		return 0, admin.Conflict("the new process did not take over, and this one goes on: %v", err)
	}
	return pid, nil
}

// suspendChanges refuses changes to the servers, and drains, from then on.
func (s *Supervisor) suspendChanges() error {
	s.changes.Lock()
	defer s.changes.Unlock()
	switch {
	case s.stopping.Load():
		return errStopping
	case s.draining.Load() != nil:
		return admin.Conflict("the balancer drains, which a new process would not; undrain it first")
	}
	s.upgrade.under = true
	return nil
}

// resumeChanges allows them again.
func (s *Supervisor) resumeChanges() {
	s.changes.Lock()
	s.upgrade.under = false
	s.changes.Unlock()
}

// startHeir starts the new process, and ends it again if it does not come to serve.
func (s *Supervisor) startHeir(ctx context.Context) (pid int, err error) {
	link, childs, err := handover.Pair()
	if err != nil {
		return 0, err
	}
	command, err := s.upgrade.by.Load().command()
	if err == nil {
		err = handover.Start(command, childs)
	}
	childs.Close()
	if err != nil {
		link.Close()
		return 0, err
	}
	s.log.Info("starting another process to take over", "pid", command.Process.Pid, "binary", command.Path)
	ended := make(chan struct{})
	go func() { // ends with the new process, or this one
		defer close(ended)
		_ = command.Wait()
	}()
	unblock := context.AfterFunc(ctx, func() { link.SetDeadline(time.Now()) })
	kept, err := s.settleWith(link)
	if unblock(); err == nil {
		s.replace(link, kept, command.Process.Pid)
		return command.Process.Pid, nil
	}
	link.Close()
	byItself := true
	select {
	case <-ended:
	case <-time.After(endsBy):
		byItself = false
		_ = command.Process.Kill()
		<-ended
	}
	s.relock()
	switch _, given := errors.AsType[reason](err); {
	case given:
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case byItself && linkEnded(err):
		err = fmt.Errorf("%s ended with %v", command.Path, command.ProcessState)
	}
	s.log.Error("no other process has taken over", "pid", command.Process.Pid, "error", err)
	return 0, err
}

// settleWith brings a new process to where it serves new clients, and returns the
// sockets that it goes on with.
func (s *Supervisor) settleWith(link *handover.Link) (kept []socketName, err error) {
	now := s.current.Load()
	if err = now.sendSockets(link); err == nil {
		err = link.Tell(tellPrepare, nil)
	}
	if err != nil {
		return nil, heard(link, err)
	}
	if err := expect(link, sayPrepared, &kept); err != nil {
		return nil, err
	}
	s.unlock()
	s.upgrade.unlocked = true
	s.upgrade.told = now.tally()
	lately, _, _ := s.events.After(0)
	if err = link.Tell(tellCommit, will{now.health(), s.upgrade.told, lately}); err == nil {
		err = expect(link, sayRunning, nil)
	}
	return kept, err
}

// heard returns why a new process that could not be told all has ended, err if it has
// not said.
func heard(link *handover.Link, err error) error {
	link.SetDeadline(time.Now().Add(endsBy))
	if said, given := errors.AsType[reason](expect(link, sayFailed, nil)); given {
		return said
	}
	return err
}

// linkEnded reports whether an error is that the other end was closed.
func linkEnded(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, unix.EPIPE, unix.ECONNRESET} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// relock takes the state file back from a new process that has ended.
func (s *Supervisor) relock() {
	if s.state == nil || !s.upgrade.unlocked {
		return
	}
	s.upgrade.unlocked = false
	if err := s.lockState(s.state); err != nil {
		s.log.Error("uploads and deletions are refused from now on", "error", err)
	}
}

// expect waits for a message of that kind, and reads it into body unless that is nil.
func expect(link *handover.Link, kind string, body any) error {
	m, err := link.Receive()
	if err != nil {
		return fmt.Errorf("it has ended, or says nothing: %w", err)
	}
	defer m.Close()
	switch {
	case m.Kind == sayFailed, m.Kind == sayRefused:
		var f failure
		if err := m.Decode(&f); err != nil {
			return err
		}
		return reason(f.Why)
	case m.Kind != kind:
		return fmt.Errorf("it says %q in place of %q", m.Kind, kind)
	case body != nil:
		return m.Decode(body)
	}
	return nil
}

// sendSockets passes on all listening sockets.
func (r *running) sendSockets(link *handover.Link) error {
	for _, l := range r.listeners {
		sockets, err := l.Sockets()
		if err != nil {
			return fmt.Errorf("listener %q: %w", l.config.Name, err)
		}
		if err := sendSocket(link, socketName{Name: l.config.Name, Address: l.config.Address, Borrowed: l.borrowed}, sockets); err != nil {
			return err
		}
	}
	if r.admin == nil {
		return nil
	}
	socket, err := r.admin.Socket()
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	return sendSocket(link, socketName{Name: AdminSocket, Address: r.config.Admin.Address, Borrowed: r.adminBorrowed}, []int{socket})
}

// sendSocket passes sockets on, and closes these copies of them.
func sendSocket(link *handover.Link, name socketName, sockets []int) error {
	defer loop.Disown(sockets)
	name.Version = handoverVersion
	m := mustMessage(tellSocket, name)
	m.Descriptors = sockets
	return link.Send(m)
}

// health returns what is known of every server's health.
func (r *running) health() map[string]map[string]pool.Health {
	all := make(map[string]map[string]pool.Health)
	for _, p := range r.pools {
		all[p.Name()] = make(map[string]pool.Health)
		for _, server := range p.Status() {
			if server.Health.Checked() {
				all[p.Name()][server.Address] = server.Health
			}
		}
	}
	return all
}

func keeps(kept []socketName, name, address string) bool {
	return slices.ContainsFunc(kept, func(s socketName) bool { return s.Name == name && s.Address == address })
}

// replace leaves new clients to the process that serves them now, on the sockets that it
// goes on with.
func (s *Supervisor) replace(link *handover.Link, kept []socketName, pid int) {
	s.stopping.Store(true)
	now := s.current.Load()
	heirs := make(map[*listener]bool)
	for _, l := range now.listeners {
		if keeps(kept, l.config.Name, l.config.Address) {
			heirs[l] = true
			l.Leave()
		}
	}
	if now.admin != nil {
		if u, ok := now.socket.(*unixListener); ok && keeps(kept, AdminSocket, now.config.Admin.Address) {
			u.keepFile()
		}
		now.admin.Leave()
	}
	s.upgrade.by.Load().announce(pid)
	if err := link.Tell(tellYours, nil); err != nil {
		s.log.Warn("the new process cannot be told that it is alone now", "error", err)
	}
	s.upgrade.link, s.upgrade.heirs = link, heirs
	s.events.Add(events.Event{Kind: events.BalancerUpgraded, Reason: fmt.Sprintf("process %d has taken the place of this one", pid)})
	s.log.Info("another process has taken over", "pid", pid)
	close(s.upgrade.replaced)
}
