package admin

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxConnections = 256
	maxPerPeer     = 64 // of them, of one peer elsewhere: it cannot keep the others out
	maxHeaderBytes = 16 << 10

	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second // the whole request
	changeTimeout = 8 * time.Second  // an upload, delete or reload; below what the client waits
	writeTimeout  = 30 * time.Second // from the end of the head to the end of the answer
	idleTimeout   = 30 * time.Second

	// silentGrace is how long those have to send their request whose connection was
	// accepted just before another process went on with the socket.
	silentGrace = time.Second

	// cutOffTimeout is how long Stop waits for requests after it has closed
	// their connections and ended their contexts.
	cutOffTimeout = time.Second
)

// Options are what New needs.
type Options struct {
	Listener   net.Listener // bound already; passes to the admin listener when New succeeds
	Controller Controller
	Metrics    http.Handler // answers GET /metrics; nil: nobody does
	Access     *Access      // nil: nobody is asked who they are, for which Listener must be on loopback or a unix socket
	Logger     *slog.Logger // nil: nothing is logged
}

// A Listener is the admin listener. Stop must be called, started or not, to
// close its address.
type Listener struct {
	http    *http.Server
	socket  net.Listener // what bounded is around
	bounded *boundedListener
	guard   *guard
	log     *slog.Logger
	cancel  context.CancelFunc
	lasting *lasting

	started atomic.Bool
	left    atomic.Bool   // by Leave: another process serves new clients
	served  chan struct{} // closed when the accepting goroutine has ended

	stop    sync.Once
	stopErr error
}

// New returns an admin listener that serves nothing before Start. On error
// o.Listener stays the caller's.
func New(o Options) (*Listener, error) {
	if o.Listener == nil {
		return nil, errors.New("admin: Options.Listener is missing")
	}
	if o.Controller == nil {
		return nil, errors.New("admin: Options.Controller is missing")
	}
	if o.Access == nil {
		o.Access = &Access{}
	}
	if err := o.Access.guards(o.Listener.Addr()); err != nil {
		return nil, err
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	base, cancel := context.WithCancel(context.Background())
	g := &guard{unix: o.Listener.Addr().Network() == "unix", log: log}
	g.access.Store(o.Access)
	l := &Listener{
		socket:  o.Listener,
		bounded: newBoundedListener(o.Listener, maxConnections, g.welcome),
		guard:   g,
		log:     log,
		cancel:  cancel,
		lasting: newLasting(),
		served:  make(chan struct{}),
	}
	l.http = &http.Server{
		Handler:                      newHandler(base, o, g, l.lasting, log),
		ReadHeaderTimeout:            headerTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		ErrorLog:                     stdlog.New(&sparse{log: log}, "", 0),
		ConnState:                    l.bounded.connState,
		ConnContext:                  connContext,
		DisableGeneralOptionsHandler: true,
	}
	return l, nil
}

// Addr returns the address that is bound.
func (l *Listener) Addr() net.Addr { return l.bounded.Addr() }

// Socket returns a copy of the listening socket, for another process. The caller
// closes it.
func (l *Listener) Socket() (fd int, err error) {
	socket, ok := l.socket.(syscall.Conn)
	if !ok {
		return -1, errors.New("the listener has no socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1, err
	}
	failed := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(failed, err)
}

// Leave accepts nothing more, and leaves who comes from then on to a process that has
// got the Socket. Requests under way go on, but for streams, which have their clients come
// back; their connections are closed afterwards. Stop follows.
func (l *Listener) Leave() {
	l.left.Store(true)
	l.http.SetKeepAlivesEnabled(false)
	l.bounded.Close()
	l.lasting.end()
}

// Takes reports as an error that the listener would be anybody's with an Access.
func (l *Listener) Takes(a *Access) error { return a.guards(l.Addr()) }

// Update changes who may use the listener, from the next request on, to an Access that
// it Takes. Streams end, unless it says the same as the one before.
func (l *Listener) Update(a *Access) {
	if !a.same(l.guard.access.Load()) {
		l.guard.access.Store(a)
	}
	l.warn()
}

// warn says so when others may read along.
func (l *Listener) warn() {
	if l.guard.access.Load().exposes(l.Addr()) {
		l.log.Warn("tokens of the admin listener go through the network as they are, for it has no tls", "address", l.Addr().String())
	}
}

// Start begins to serve, in a goroutine that Stop ends. It may be called once,
// before Stop.
func (l *Listener) Start() {
	l.started.Store(true)
	l.warn()
	go func() {
		defer close(l.served)
		if err := l.http.Serve(l.bounded); !errors.Is(err, net.ErrClosed) {
			l.log.Error("admin listener failed", "address", l.Addr().String(), "error", err)
		}
	}()
}

// Stop closes the address, ends streams and profiles, lets the requests under way finish until ctx ends,
// then closes their connections and ends their contexts. It is an error when
// requests were cut off. No goroutine of the listener is left afterwards,
// unless the error says that a Controller did not return even then. Further
// calls wait for the first and return the same.
func (l *Listener) Stop(ctx context.Context) error {
	l.stop.Do(func() { l.stopErr = l.end(ctx) })
	return l.stopErr
}

func (l *Listener) end(ctx context.Context) error {
	l.bounded.Close()
	l.lasting.end()
	if l.started.Load() {
		<-l.served
	}
	if l.left.Load() {
		l.bounded.awaitSilent(ctx)
	}
	l.bounded.closeSilent()
	err := l.http.Shutdown(ctx)
	if err != nil {
		l.http.Close()
		err = fmt.Errorf("admin listener %s: cut off the requests under way: %w", l.Addr(), err)
	}
	l.cancel()
	if left := l.bounded.wait(cutOffTimeout); left > 0 {
		err = errors.Join(err, fmt.Errorf("admin listener %s: %d requests did not end within %s",
			l.Addr(), left, cutOffTimeout))
	}
	return err
}
