package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"fulcrum/config"
	"fulcrum/handover"
)

// yoursTimeout is how long the old process has to say that the service manager knows.
const yoursTimeout = 5 * time.Second

// succeed is StartWith for a process that takes another one's place: until it says that
// it is running, that one goes on if this one fails. It returns when the old process
// takes no new clients any more; what that has open comes afterwards.
func (s *Supervisor) succeed(c *config.Config, h *Heritage) (err error) {
	link := h.Link
	link.SetDeadline(time.Now().Add(upgradeTimeout))
	defer func() {
		if err != nil {
			Decline(link, err)
		}
	}()
	if err := h.receiveSockets(); err != nil {
		return err
	}
	s.heritage = h
	if s.state, err = s.openState(c.State, false); err != nil {
		return err
	}
	first, err := s.prepare(context.Background(), c, &running{})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			first.abandon(&running{})
			s.unlock()
		}
	}()
	if err := link.Tell(sayPrepared, h.names()); err != nil {
		return err
	}
	m, err := link.Receive()
	if err != nil {
		return fmt.Errorf("the process whose place was to be taken: %w", err)
	}
	if err := m.Decode(&h.will); err != nil {
		return err
	}
	if s.state != nil {
		if err := s.lockState(s.state); err != nil {
			return err
		}
	}
	s.events.Inherit(h.will.Events)
	s.begin(first)
	if err := link.Tell(sayRunning, nil); err != nil {
		// From here on the old process may have left its sockets: it cannot be
		// told any more that this one gives up.
		s.log.Warn("the process whose place is taken cannot be told so", "error", err)
	}
	s.receiveYours(link)
	s.succeeding.Go(func() { s.inherit(link) })
	return nil
}

// Decline tells the process whose place was to be taken why that comes to nothing, and
// closes the link.
func Decline(link *handover.Link, why error) {
	_ = link.Tell(sayFailed, failure{why.Error()}) // the old process sees the end of this one, too
	link.Close()
}

// receiveYours waits until the service manager knows of this process, or for as long as
// that may take.
func (s *Supervisor) receiveYours(link *handover.Link) {
	link.SetDeadline(time.Now().Add(yoursTimeout))
	m, err := link.Receive()
	link.SetDeadline(time.Time{})
	switch {
	case err != nil:
		s.log.Warn("the process whose place is taken says no more", "error", err)
	case m.Kind != tellYours:
		s.log.Warn("the process whose place is taken is not understood", "says", m.Kind)
		m.Close()
	}
}

// receiveSockets takes in the listening sockets that the old process has.
func (h *Heritage) receiveSockets() error {
	for {
		m, err := h.Link.Receive()
		if err != nil {
			return fmt.Errorf("the process whose place was to be taken: %w", err)
		}
		if m.Kind == tellPrepare {
			m.Close()
			return nil
		}
		var name socketName
		err = m.Decode(&name)
		switch {
		case err != nil:
		case m.Kind != tellSocket || len(m.Descriptors) == 0:
			err = fmt.Errorf("it says %q with %d descriptors in place of %q", m.Kind, len(m.Descriptors), tellSocket)
		case name.Version != handoverVersion:
			err = fmt.Errorf("it speaks version %d of the handover, this one speaks %d; stop it and start this one", name.Version, handoverVersion)
		}
		if err != nil {
			m.Close()
			return fmt.Errorf("the process whose place was to be taken: %w", err)
		}
		h.Sockets = append(h.Sockets, Inherited{Name: name.Name, Address: name.Address, Sockets: m.Descriptors, Borrowed: name.Borrowed})
	}
}

// inherit takes in what the old process has open, until that has nothing more.
func (s *Supervisor) inherit(link *handover.Link) {
	defer link.Close()
	defer context.AfterFunc(s.ending, func() { link.Close() })()
	n, began := 0, time.Now()
	for {
		m, err := link.Receive()
		if err != nil {
			if errors.Is(err, io.EOF) {
				s.log.Info("the old process has left all it had", "connections", n, "took", time.Since(began).Round(time.Millisecond))
			} else if s.ending.Err() == nil {
				s.log.Warn("the old process says no more", "connections", n, "error", err)
			}
			return
		}
		if m.Kind == tellCounts {
			s.addCounts(m)
			continue
		}
		if s.receiveConnection(link, m) {
			n++
		}
	}
}

// awaitHeritage waits until nothing more comes from the old process, for as long as that
// may take to stop.
func (s *Supervisor) awaitHeritage() {
	all := make(chan struct{})
	go func() { // ends when the link does, which Stop sees to
		defer close(all)
		s.succeeding.Wait()
	}()
	select {
	case <-all:
	case <-time.After(s.ShutdownTimeout()):
	}
}

// receiveConnection goes on with a connection, or says why it stays where it is.
func (s *Supervisor) receiveConnection(link *handover.Link, m *handover.Message) bool {
	a, err := s.current.Load().take(m, false)
	if err != nil {
		m.Close()
		s.log.Warn("a connection stays with the old process", "reason", err)
		_ = link.Tell(sayRefused, failure{err.Error()}) // else the old process sees the end of the link
		return false
	}
	if err := link.Tell(sayTaken, nil); err != nil {
		a.Abandon()
		return false
	}
	a.Begin()
	return true
}
