package l4

import (
	"net/netip"

	"fulcrum/pool"
)

// details are what a session needs only where somebody asks for it, or when
// not all goes well.
type details struct {
	client      netip.AddrPort // invalid for a unix socket; told by a PROXY header if there was one
	destination netip.AddrPort // what the client connected to, as told by a PROXY header
	name        string         // the server name that it asked for
	read        []byte         // what it has sent, until it is relayed
	tried       *pool.Tried    // the servers that could not be connected to; nil: none
	waiter      *pool.Waiter   // while it stands in the pool's queue
	waited      bool           // has stood there: the pool may still call on it
}

// detail returns the session's details, which may be new.
func (s *session) detail() *details {
	if s.details == nil {
		s.details = new(details)
	}
	return s.details
}

// tried returns the servers that could not be connected to, nil if there are
// none.
func (s *session) tried() *pool.Tried {
	if s.details == nil {
		return nil
	}
	return s.details.tried
}
