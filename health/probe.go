package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"fulcrum/pool"
	"fulcrum/proxyproto"
)

const (
	maxProbeHead = 64 << 10 // bytes of an answer's head; its body is not read
	maxReason    = 200      // bytes of a reason that comes from what a server sent
)

// probe checks a server once, within the deadline of ctx.
type probe func(ctx context.Context, s *pool.Server) finding

// finding is what a probe found.
type finding struct {
	reason string // in words
	passed bool
	void   bool // this machine could not even ask: it says nothing about the server
}

func newProbe(o Options) probe {
	if o.Path == "" {
		return func(ctx context.Context, s *pool.Server) finding {
			return describe(o, "connected", probeTCP(ctx, s, o.SendProxy))
		}
	}
	return func(ctx context.Context, s *pool.Server) finding {
		status, err := probeHTTP(ctx, s, o)
		if err == nil && !includes(o.Status, status) {
			err = fmt.Errorf("status %d, expected %s", status, rangesText(o.Status))
		}
		return describe(o, fmt.Sprintf("status %d", status), err)
	}
}

func probeTCP(ctx context.Context, s *pool.Server, send proxyproto.Version) error {
	conn, err := dial(ctx, s, send)
	if err != nil {
		return err
	}
	return conn.Close()
}

// probeHTTP sends a GET on a connection of its own and returns the answer's
// status. Redirects are not followed.
func probeHTTP(ctx context.Context, s *pool.Server, o Options) (status int, err error) {
	conn, err := dial(ctx, s, o.SendProxy)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	host := s.Address()
	if conn.RemoteAddr().Network() == "unix" {
		host = "localhost"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+o.Path, nil)
	if err != nil {
		return 0, err
	}
	request.Close = true
	request.Header.Set("User-Agent", "fulcrum-health-check")
	if err := request.Write(conn); err != nil {
		return 0, err
	}
	return readStatus(conn, request)
}

// readStatus returns the status of the first answer that is not a mere
// announcement of one: 1xx but for 101 (RFC 9110, section 15.2). An http.Client
// is not used because it reports what servers say unasked on the standard logger.
func readStatus(conn net.Conn, request *http.Request) (status int, err error) {
	limited := &io.LimitedReader{R: conn, N: maxProbeHead}
	buffered := bufio.NewReader(limited)
	for {
		answer, err := http.ReadResponse(buffered, request)
		switch {
		case err != nil && limited.N == 0:
			return 0, fmt.Errorf("the head of the answer is larger than %d bytes", maxProbeHead)
		case err != nil:
			return 0, err
		case answer.StatusCode/100 != 1 || answer.StatusCode == http.StatusSwitchingProtocols:
			return answer.StatusCode, nil
		}
	}
}

// describe turns the outcome of a probe into words for people.
func describe(o Options, passed string, err error) finding {
	var operation *net.OpError
	var call *os.SyscallError
	switch {
	case err == nil:
		return finding{reason: passed, passed: true}
	case exhausted(err):
		return finding{reason: "could not check: " + clip(err.Error()), void: true}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return finding{reason: fmt.Sprintf("no answer within %s", o.Timeout)}
	case errors.As(err, &call):
		return finding{reason: call.Err.Error()}
	case errors.As(err, &operation):
		return finding{reason: operation.Err.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return finding{reason: "connection closed before the answer's head was complete"}
	}
	return finding{reason: clip(err.Error())}
}

// exhausted reports whether an error comes from a want of descriptors, ports or
// memory on this machine.
func exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// clip bounds a text that may quote what a server sent.
func clip(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}

func includes(ranges []StatusRange, status int) bool {
	for _, r := range ranges {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

func rangesText(ranges []StatusRange) string {
	texts := make([]string, len(ranges))
	for i, r := range ranges {
		texts[i] = fmt.Sprint(r.From)
		if r.To != r.From {
			texts[i] += fmt.Sprint("-", r.To)
		}
	}
	return strings.Join(texts, ",")
}
