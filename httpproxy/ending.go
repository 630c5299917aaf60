package httpproxy

// An Ending says how a request ended, or a connection that came to none.
type Ending uint8

// The endings that there are. Words that tcp listeners use too mean the same there.
const (
	Answered      Ending = iota // a server's whole answer was passed on, be it before the end of the request
	Redirected                  // so its route says
	Upgraded                    // the connections became a tunnel, which either side has ended
	ClientClosed                // the client ended its direction or left, before the end of the request or of the answer
	ClientReset                 // the client reset the connection, or that broke down
	Idle                        // no byte moved for the idle timeout: of an answer, which the client did not take, or in a tunnel
	Drained                     // closed by CloseServer or CloseAll, or by the deadline of Stop
	InternalError               // a bug: a panic, which was logged

	BadHeader    // the PROXY header was missing, wrong or late
	ClientLimit  // the client's address had as many connections as it may
	HeadTimeout  // the head of the request did not come in time
	RefusedHead  // the head was malformed, too large, or asked for what is not served; the status tells
	NoRoute      // no route is for the request, and there is no default
	BadBody      // the body of the request was malformed
	BodyTooLarge // it was longer than it may be, as announced or as it came
	BodyTimeout  // it did not come in time, or too slowly

	NoneReady     // no server was ready, or none by the time the first checks had to be over
	AllFull       // every ready server was full, and nobody may wait
	QueueFull     // as AllFull, and as many waited as may
	QueueTimeout  // waited for a place on a server as long as one may
	ConnectFailed // no server that was tried could be connected to
	NoResources   // this machine had no descriptors, ports or memory left to connect

	NoAnswer      // the server's connection ended before the head of an answer, and the request was not to be sent again
	BadAnswer     // the head of the answer was malformed, too large or not one to what was asked
	AnswerTimeout // it did not come in time, or the server did not take the request
	CutShort      // the answer's body ended too early, was malformed, or the server fell silent within it

	// Endings is how many there are.
	Endings = int(iota)
)

var endingNames = [Endings]string{
	Answered:      "answered",
	Redirected:    "redirected",
	Upgraded:      "upgraded",
	ClientClosed:  "client_closed",
	ClientReset:   "client_reset",
	Idle:          "idle",
	Drained:       "drained",
	InternalError: "internal_error",
	BadHeader:     "bad_proxy_header",
	ClientLimit:   "client_limit",
	HeadTimeout:   "head_timeout",
	RefusedHead:   "refused_head",
	NoRoute:       "no_route",
	BadBody:       "bad_body",
	BodyTooLarge:  "body_too_large",
	BodyTimeout:   "body_timeout",
	NoneReady:     "no_server_ready",
	AllFull:       "all_full",
	QueueFull:     "queue_full",
	QueueTimeout:  "queue_timeout",
	ConnectFailed: "connect_failed",
	NoResources:   "no_resources",
	NoAnswer:      "no_answer",
	BadAnswer:     "bad_answer",
	AnswerTimeout: "answer_timeout",
	CutShort:      "cut_short",
}

// String returns the ending as metrics and the access log name it.
func (e Ending) String() string { return endingNames[e] }
