package supervisor

import (
	"log/slog"
	"strings"

	"fulcrum/events"
	"fulcrum/handover"
	"fulcrum/loop"
	"fulcrum/pool"
)

// What a process and the one that is to take its place tell each other, in this order.
// The old one begins; the answers are the new one's. Until commit either may give up,
// and the old one goes on as if nothing had been.
const (
	tellSocket      = "socket"   // a heir's description of listening sockets, with these
	tellPrepare     = "prepare"  // there are no more sockets: read the config, build everything
	sayFailed       = "failed"   // why it came to nothing
	sayPrepared     = "prepared" // all that can fail has been done
	tellCommit      = "commit"   // what is known of the servers: begin
	sayRunning      = "running"  // new clients are served
	tellYours       = "yours"    // the service manager knows who serves from now on
	tellTCP         = "tcp"      // a connection of a tcp listener
	tellHTTP        = "http"     // a client of an http listener
	sayTaken        = "taken"    // the connection goes on in the new process
	sayRefused      = "refused"  // why it stays in the old one
	tellCounts      = "counts"   // what was counted so far; nothing comes after it
	handoverVersion = 1          // the version of all this; other versions do not talk to each other
)

// A Heritage is what a process begins with that another one had opened.
type Heritage struct {
	Link    *handover.Link // to the process whose place is taken; nil: there is none
	Sockets []Inherited    // from the service manager

	will will // of the process whose place is taken
}

// will is the body of tellCommit.
type will struct {
	Health map[string]map[string]pool.Health `json:"health"` // of the servers, by pool and address
	Tally  *tally                            `json:"tally"`
	Events []events.Event                    `json:"events"`
}

// Inherited are listening sockets of one address.
type Inherited struct {
	Name     string // of the listener that is to have them, or AdminSocket; "": whichever has their address
	Address  string // as the config of the process that opened them has it; "": that they are bound to
	Sockets  []int
	Borrowed bool // who opened them keeps them

	used bool
}

// AdminSocket is the name of the admin listener's socket. No listener has it.
const AdminSocket = "admin listener"

// A socketName says which listener sockets belong to.
type socketName struct {
	Version  int    `json:"version"` // handoverVersion
	Name     string `json:"name"`
	Address  string `json:"address"` // as the config has it
	Borrowed bool   `json:"borrowed,omitempty"`
}

// a failure is the body of sayFailed and sayRefused.
type failure struct {
	Why string `json:"why"`
}

// find returns the sockets for a listener, nil if there are none. A name counts for
// more than an address, and an address that leaves the port to the system is only the
// listener's of that name.
func (h *Heritage) find(name, address string) *Inherited {
	if h == nil {
		return nil
	}
	for _, fits := range []func(s *Inherited) bool{
		func(s *Inherited) bool { return s.Name == name && (s.Address == "" || s.Address == address) },
		func(s *Inherited) bool { return s.Address == address && !strings.HasSuffix(address, ":0") },
		func(s *Inherited) bool { return s.Address == "" && sameAddress(s.Sockets[0], address) },
	} {
		for i := range h.Sockets {
			if s := &h.Sockets[i]; !s.used && fits(s) {
				s.used = true
				return s
			}
		}
	}
	return nil
}

// names returns the sockets that have found their listeners.
func (h *Heritage) names() (all []socketName) {
	for _, s := range h.Sockets {
		if s.used {
			all = append(all, socketName{Version: handoverVersion, Name: s.Name, Address: s.Address, Borrowed: s.Borrowed})
		}
	}
	return all
}

// sameAddress reports whether a socket's address is the one that a config means.
func sameAddress(socket int, wanted string) bool {
	bound, err := loop.BoundTo(socket)
	if err != nil {
		return false
	}
	a, err := resolveListen(wanted)
	if err != nil {
		return false
	}
	every := strings.NewReplacer("[::]:", ":", "0.0.0.0:", ":")
	return every.Replace(written(bound)) == every.Replace(written(a))
}

// warn says which sockets no listener has use for.
func (h *Heritage) warn(log *slog.Logger) {
	if h == nil {
		return
	}
	for _, s := range h.Sockets {
		if !s.used {
			log.Warn("no listener has use for a socket, which is closed", "name", s.Name, "address", boundTo(&s))
		}
	}
}

func boundTo(s *Inherited) string {
	bound, err := loop.BoundTo(s.Sockets[0])
	if err != nil {
		return err.Error()
	}
	return written(bound)
}

// disown closes the sockets, of which who uses them has copies.
func (h *Heritage) disown() {
	if h == nil {
		return
	}
	for _, s := range h.Sockets {
		loop.Disown(s.Sockets)
	}
	h.Sockets = nil
}

// most returns how many sockets one listener has, at most.
func (h *Heritage) most() (n int) {
	if h != nil {
		for _, s := range h.Sockets {
			n = max(n, len(s.Sockets))
		}
	}
	return n
}

// healthOf returns what the old process knew of the health of a pool's servers.
func (h *Heritage) healthOf(p *pool.Pool) map[*pool.Server]pool.Health {
	all := make(map[*pool.Server]pool.Health)
	if h == nil {
		return all
	}
	for address, known := range h.will.Health[p.Name()] {
		if server := p.Find(address); server != nil {
			all[server] = known
		}
	}
	return all
}
