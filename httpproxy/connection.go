package httpproxy

import (
	"net/netip"
	"time"

	"fulcrum/relay"
)

// A Connection is a client, idle or in a tunnel, that leaves a listener to go on at
// another, in another process: its sockets, which are its holder's, and all else there
// is to know of it.
type Connection struct {
	Client   int `json:"-"`
	Upstream int `json:"-"` // of a tunnel

	Address     netip.AddrPort `json:"address,omitzero"`     // who the client is
	Destination netip.AddrPort `json:"destination,omitzero"` // what it connected to, if that is to be told to servers
	Tunnel      *Tunnel        `json:"tunnel,omitempty"`     // nil: it is idle

	// Of one that is idle: the beginning of a request, which Parts has, and how long it
	// may take until its head is there, or, if it has not begun, until it does.
	In    []byte        `json:"-"`
	Begun bool          `json:"begun,omitempty"`
	Left  time.Duration `json:"left,omitempty"`
}

// A Tunnel is what there is to know of an upgraded request.
type Tunnel struct {
	Route  string `json:"route"` // its name
	Pool   string `json:"pool"`
	Server string `json:"server"`

	Age       time.Duration  `json:"age"`                 // since the head of the request
	Early     int            `json:"early"`               // bytes of the server's that are not in Relay
	WebSocket *[2]FrameState `json:"websocket,omitempty"` // by side, the client's first; nil: it is another protocol
	Record    *Record        `json:"record,omitempty"`    // nil: there is no access log
	Relay     relay.State    `json:"relay"`
}

// A FrameState is where a WebSocket is, in one direction, within its frames.
type FrameState struct {
	Left     uint64 `json:"left,omitempty"`
	Length   uint64 `json:"length,omitempty"`
	Came     uint8  `json:"came,omitempty"`
	LengthTo uint8  `json:"length_to,omitempty"`
	HeadTo   uint8  `json:"head_to,omitempty"`
	Closes   uint8  `json:"closes,omitempty"`
	Closed   uint8  `json:"closed,omitempty"`
}

// A Record is what the access log is to say of a tunnel when it ends.
type Record struct {
	Method    []byte        `json:"method"`
	Target    []byte        `json:"target"`
	Host      []byte        `json:"host"`
	Protocol  []byte        `json:"protocol"`
	Referer   []byte        `json:"referer,omitempty"`
	UserAgent []byte        `json:"user_agent,omitempty"`
	Status    int           `json:"status"`
	Tries     int           `json:"tries"`
	Reused    bool          `json:"reused,omitempty"`
	Queue     time.Duration `json:"queue"`
	Connect   time.Duration `json:"connect"`
	FirstByte time.Duration `json:"first_byte"`
}

// Parts returns what of a Connection is not in its JSON, to be read or set.
func (c *Connection) Parts() []*[]byte {
	if c.Tunnel != nil {
		return c.Tunnel.Relay.Parts()
	}
	return []*[]byte{&c.In}
}

func (f *frames) state() FrameState {
	return FrameState{f.left, f.length, f.came, f.lengthTo, f.headTo, f.closes, f.closed}
}

func (s *FrameState) frames() frames {
	return frames{s.Left, s.Length, s.Came, s.LengthTo, s.HeadTo, s.Closes, s.Closed}
}

func (e *entry) asRecord() *Record {
	if e == nil {
		return nil
	}
	return &Record{e.method, e.target, e.host, e.protocol, e.referer, e.userAgent,
		e.status, e.tries, e.reused, e.queue, e.connect, e.firstByte}
}

// entryOf returns what the access log is to say of a tunnel that has come from another
// listener, nil if there is none or nothing is known.
func (c *client) entryOf(t *Tunnel) *entry {
	r := t.Record
	if r == nil || c.w.plan.AccessLog == nil {
		return nil
	}
	return &entry{
		listener: c.w.plan.Name, client: c.address, route: t.Route, pool: t.Pool, server: t.Server,
		method: r.Method, target: r.Target, host: r.Host, protocol: r.Protocol, referer: r.Referer, userAgent: r.UserAgent,
		status: r.Status, tries: r.Tries, reused: r.Reused, queue: r.Queue, connect: r.Connect, firstByte: r.FirstByte,
	}
}
