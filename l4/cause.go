package l4

import "fulcrum/relay"

// A Cause says how a connection ended.
type Cause uint8

// The causes that there are. From NoneReady on they are refusals: the client was
// closed before it was relayed to any server.
const (
	ClientClosed   Cause = iota // both directions ended, the client's first; or it went before it said anything
	ServerClosed                // both directions ended, the server's first
	ClientReset                 // the client reset the connection, or it broke down
	ServerReset                 // the server did
	Idle                        // no byte moved for the idle timeout
	HalfClosedIdle              // nor, after one direction had ended, for the half-closed timeout
	Drained                     // closed by CloseServer or CloseAll, or by the deadline of Stop
	InternalError               // a bug: a panic, which was logged

	NoneReady     // no server was ready, or none by the time the first checks had to be over
	AllFull       // every ready server was full, and nobody may wait
	QueueFull     // as AllFull, and as many waited as may
	QueueTimeout  // waited for a place on a server as long as one may
	ConnectFailed // no server that was tried could be connected to, or no more may be tried
	BadHeader     // the PROXY header was missing, wrong or late
	NoHello       // the ClientHello was wrong or late, or there was none and no default
	UnknownName   // no route has the name that was asked for, and there is no default
	ClientLimit   // the client's address had as many connections as it may
	NoResources   // this machine had no descriptors, ports or memory left to connect

	// Causes is how many there are.
	Causes = int(iota)
)

var causeNames = [Causes]string{
	"client_closed", "server_closed", "client_reset", "server_reset", "idle", "half_closed_idle", "drained", "internal_error",
	"no_server_ready", "all_full", "queue_full", "queue_timeout", "connect_failed", "bad_proxy_header", "no_hello",
	"unknown_name", "client_limit", "no_resources",
}

// String returns the cause as metrics and the access log name it.
func (c Cause) String() string { return causeNames[c] }

// Refusal reports whether the client was closed before it was relayed.
func (c Cause) Refusal() bool { return c >= NoneReady }

func causeOf(c relay.Cause) Cause {
	return [...]Cause{
		relay.ClientEnded:    ClientClosed,
		relay.UpstreamEnded:  ServerClosed,
		relay.ClientFailed:   ClientReset,
		relay.UpstreamFailed: ServerReset,
		relay.Idle:           Idle,
		relay.HalfClosedIdle: HalfClosedIdle,
		relay.Panicked:       InternalError,
	}[c]
}
