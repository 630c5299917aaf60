package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fulcrum/config"
	"fulcrum/handover"
	"fulcrum/httpproxy"
	"fulcrum/l4"
	"fulcrum/loop"
)

const (
	// moveBatch is how many connections of a listener come to rest at a time, to be
	// moved: none of them is served meanwhile.
	moveBatch = 64
	// movePause is how long to wait for connections that could not be moved yet.
	movePause = 20 * time.Millisecond
	// moveTimeout is how long the new process may take for a batch.
	moveTimeout = 10 * time.Second
)

// An arrival is a connection that has come from another process, about to go on.
type arrival interface {
	Begin()
	Abandon()
}

// movedFrom says which listener gave a connection. Its names in JSON are none of a
// Connection's, which they would hide.
type movedFrom struct {
	Listener string `json:"listener"`
	Bound    string `json:"bound"` // its address, as the config has it
}

// movedTCP is the body of tellTCP.
type movedTCP struct {
	movedFrom
	l4.Connection
}

// mustMessage makes one that has a body of ours and nothing else: JSON can tell them all.
func mustMessage(kind string, body any) *handover.Message {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return &handover.Message{Kind: kind, Body: text}
}

// give takes connections off a listener, to be told to another process.
func (l *listener) give(most int) (all []*handover.Message) {
	if l.tcp == nil {
		return l.giveHTTP(most)
	}
	for _, c := range l.tcp.Give(most) {
		m := mustMessage(tellTCP, movedTCP{movedFrom{l.config.Name, l.config.Address}, c})
		for _, part := range c.Relay.Parts() {
			m.Parts = append(m.Parts, *part)
		}
		m.Descriptors = []int{c.Client, c.Upstream}
		all = append(all, m)
	}
	return all
}

// take makes ready to go on with what a message brings; one that stays is not given
// again. After an error its descriptors are still to be closed.
func (r *running) take(m *handover.Message, stays bool) (arrival, error) {
	switch m.Kind {
	case tellTCP:
		return r.takeTCP(m, stays)
	case tellHTTP:
		return r.takeHTTP(m, stays)
	}
	return nil, fmt.Errorf("%q is not known to this version", m.Kind)
}

func (r *running) takeTCP(m *handover.Message, stays bool) (arrival, error) {
	var body movedTCP
	if err := m.Decode(&body); err != nil {
		return nil, err
	}
	l, err := r.listenerOf(body.movedFrom, config.ProtocolTCP)
	if err != nil {
		return nil, err
	}
	if err := fill(body.Relay.Parts(), m); err != nil {
		return nil, err
	}
	if len(m.Descriptors) != 2 {
		return nil, fmt.Errorf("a relay with %d sockets", len(m.Descriptors))
	}
	body.Client, body.Upstream = m.Descriptors[0], m.Descriptors[1]
	return l.tcp.Take(&body.Connection, stays)
}

// fill sets parts to those of a message.
func fill(parts []*[]byte, m *handover.Message) error {
	if len(m.Parts) != len(parts) {
		return fmt.Errorf("%d parts in place of %d", len(m.Parts), len(parts))
	}
	for i, part := range parts {
		*part = m.Parts[i]
	}
	return nil
}

// listenerOf returns the listener that goes on with what another process had.
func (r *running) listenerOf(from movedFrom, protocol string) (*listener, error) {
	for _, l := range r.listeners {
		if sameListener(l.config.Name, l.config.Address, from.Listener, from.Bound) && l.config.Protocol == protocol {
			return l, nil
		}
	}
	return nil, fmt.Errorf("there is no %s listener %q at %s", protocol, from.Listener, from.Bound)
}

// bequeath moves what is open to the process that has taken this one's place, until
// nothing is left, that process is gone, or ctx ends. What cannot be moved stays.
func (s *Supervisor) bequeath(ctx context.Context) {
	defer s.keepClients()
	link := s.upgrade.link
	moved, refused := 0, 0
	for ctx.Err() == nil {
		open, batch := int64(0), 0
		for l := range s.upgrade.heirs {
			open += l.open()
			for ctx.Err() == nil { // not asked between give and send, or those given were lost
				messages := l.give(moveBatch)
				if len(messages) == 0 {
					break
				}
				taken, err := s.send(link, messages, moveTimeout)
				moved, refused, batch = moved+taken, refused+len(messages)-taken, batch+taken
				if err != nil {
					s.log.Error("what is open stays here", "error", err)
					link.Close() // half a message may have been sent
					return
				}
				if taken == 0 {
					break
				}
			}
		}
		if open == 0 {
			break
		}
		if batch == 0 {
			select {
			case <-time.After(movePause):
			case <-ctx.Done():
			}
		}
	}
	s.log.Info("connections moved to the new process", "moved", moved, "refused", refused)
}

// keepClients has those that have not moved served here.
func (s *Supervisor) keepClients() {
	for l := range s.upgrade.heirs {
		if l.http != nil {
			l.http.Keep()
		}
	}
}

// send tells the new process of connections, for which it has so long, and takes those
// back that it does not go on with. After an error the link is of no use any more.
func (s *Supervisor) send(link *handover.Link, messages []*handover.Message, within time.Duration) (taken int, err error) {
	defer link.GiveUpAfter(within)()
	sent := 0
	for _, m := range messages {
		if err = link.Send(m); err != nil {
			break
		}
		sent++
	}
	for i, m := range messages {
		if i >= sent {
			s.takeBack(m) // the new process has not got it as a whole
			continue
		}
		why := expect(link, sayTaken, nil)
		if why == nil {
			m.Close()
			taken++
			continue
		}
		if _, refused := errors.AsType[reason](why); !refused {
			err = why
		}
		s.takeBack(m)
	}
	return taken, err
}

// takeBack goes on with a connection that the new process does not.
func (s *Supervisor) takeBack(m *handover.Message) {
	a, err := s.current.Load().take(m, true)
	if err != nil { // its server has just been removed
		s.log.Error("a connection is reset: nobody goes on with it", "error", err)
		for _, fd := range m.Descriptors {
			loop.Reset(fd)
		}
		return
	}
	a.Begin()
}

// open returns how many connections the listener has.
func (l *listener) open() int64 {
	if l.tcp != nil {
		return l.tcp.Stats().Active
	}
	return l.http.Stats().Open
}

// movedHTTP is the body of tellHTTP.
type movedHTTP struct {
	movedFrom
	httpproxy.Connection
}

func (l *listener) giveHTTP(most int) (all []*handover.Message) {
	for _, c := range l.http.Give(most) {
		m := mustMessage(tellHTTP, movedHTTP{movedFrom{l.config.Name, l.config.Address}, c})
		for _, part := range c.Parts() {
			m.Parts = append(m.Parts, *part)
		}
		m.Descriptors = []int{c.Client}
		if c.Tunnel != nil {
			m.Descriptors = append(m.Descriptors, c.Upstream)
		}
		all = append(all, m)
	}
	return all
}

func (r *running) takeHTTP(m *handover.Message, stays bool) (arrival, error) {
	var body movedHTTP
	if err := m.Decode(&body); err != nil {
		return nil, err
	}
	l, err := r.listenerOf(body.movedFrom, config.ProtocolHTTP)
	if err != nil {
		return nil, err
	}
	if err := fill(body.Parts(), m); err != nil {
		return nil, err
	}
	wanted := 1
	if body.Tunnel != nil {
		wanted = 2
	}
	if len(m.Descriptors) != wanted {
		return nil, fmt.Errorf("a client with %d sockets in place of %d", len(m.Descriptors), wanted)
	}
	body.Client, body.Upstream = m.Descriptors[0], m.Descriptors[wanted-1]
	return l.http.Take(&body.Connection, stays)
}
