// Package handover carries messages, with descriptors of open files, from a process
// to the one that takes its place, and answers back.
//
// The old process makes two ends by Pair, gives one to a child (Start) and talks
// through the other; the child finds its own by Inherited. Nobody else can reach
// either: they are an unnamed pair of sockets, and only a child inherits one.
//
// A message has a kind, a body in JSON, parts of bytes that JSON would blow up, and
// descriptors (SCM_RIGHTS, unix(7)). What a message says is between the two: this
// package bounds how large it may be and how long it may take, and refuses what is
// not a message. A body with members that the receiver does not know is an error of
// Decode: a process is not to act upon half of what it was told.
package handover

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MaxDescriptors is how many descriptors a message may have; the kernel allows
	// 253 (SCM_MAX_FD).
	MaxDescriptors = 250

	maxHead  = 128 << 20 // bytes of a message's JSON: what 10,000 busy servers have counted is 25 to 50 MB
	maxParts = 64 << 20  // bytes of its parts together
	maxCount = 64        // parts

	// variable names the descriptor of the child's end.
	variable = "FULCRUM_HANDOVER"
)

// magic begins each message, so that anything else is known to be none.
var magic = [4]byte{'f', 'u', 'l', 1}

// A Message is what one process tells the other. The receiver of Descriptors closes
// them.
type Message struct {
	Kind        string
	Body        json.RawMessage
	Parts       [][]byte
	Descriptors []int
}

// head is the JSON of a message.
type head struct {
	Kind  string          `json:"kind"`
	Body  json.RawMessage `json:"body,omitempty"`
	Parts []int           `json:"parts,omitempty"` // their lengths
}

// Decode reads the body of a message.
func (m *Message) Decode(into any) error {
	d := json.NewDecoder(bytes.NewReader(m.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("message %q is not understood: %w", m.Kind, err)
	}
	return nil
}

// Close closes the descriptors of a message that nobody has use for.
func (m *Message) Close() {
	for _, fd := range m.Descriptors {
		unix.Close(fd)
	}
	m.Descriptors = nil
}

// A Link is one end. Send and Receive may be called from two goroutines, each by one
// at a time.
type Link struct {
	conn *net.UnixConn
}

// Pair makes the two ends: one to talk through, one to be given to a child.
func Pair() (own *Link, childs *os.File, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	childs = os.NewFile(uintptr(ends[1]), "handover")
	if own, err = newLink(os.NewFile(uintptr(ends[0]), "handover")); err != nil {
		childs.Close()
		return nil, nil, err
	}
	return own, childs, nil
}

// newLink takes over a socket, also on error.
func newLink(socket *os.File) (*Link, error) {
	defer socket.Close() // FileConn has one of its own
	conn, err := net.FileConn(socket)
	if err != nil {
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("it is not a unix socket")
	}
	return &Link{unixConn}, nil
}

// Start starts a command with an end of its own to find by Inherited.
func Start(command *exec.Cmd, childs *os.File) error {
	if command.Env == nil {
		command.Env = os.Environ()
	}
	const firstExtra = 3 // of ExtraFiles
	command.Env = append(command.Env, variable+"="+strconv.Itoa(firstExtra+len(command.ExtraFiles)))
	command.ExtraFiles = append(command.ExtraFiles, childs)
	return command.Start()
}

// Inherited returns the end that this process was started with, nil if it was not
// started to take another one's place. Only the first call does.
func Inherited() (*Link, error) {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(variable)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is not a descriptor", variable, text)
	}
	unix.CloseOnExec(fd)
	l, err := newLink(os.NewFile(uintptr(fd), "handover"))
	if err != nil {
		return nil, fmt.Errorf("%s=%q: %w", variable, text, err)
	}
	return l, nil
}

// Close closes the end; the other one is told so.
func (l *Link) Close() error { return l.conn.Close() }

// SetDeadline bounds what is sent and received from now on, together.
func (l *Link) SetDeadline(t time.Time) error { return l.conn.SetDeadline(t) }

// GiveUpAfter has the link fail after d, unless it is stopped before: what is being sent
// then fails, and of what the other end sends nothing is received that has not come by
// then. The other end's Send tells which is the case: what was sent without an error is
// received.
func (l *Link) GiveUpAfter(d time.Duration) (stop func() bool) {
	l.conn.SetDeadline(time.Time{})
	l.conn.SetWriteDeadline(time.Now().Add(d))
	return time.AfterFunc(d, func() { l.conn.CloseRead() }).Stop
}

// Tell sends a message of a kind with a body and nothing else.
func (l *Link) Tell(kind string, body any) error {
	m := &Message{Kind: kind}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		m.Body = text
	}
	return l.Send(m)
}

// Send sends a message. The descriptors stay the caller's, to be closed.
func (l *Link) Send(m *Message) error {
	h := head{Kind: m.Kind, Body: m.Body}
	total := 0
	for _, p := range m.Parts {
		h.Parts = append(h.Parts, len(p))
		total += len(p)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("send message %q: %w", m.Kind, err)
	}
	if len(text) > maxHead || total > maxParts || len(m.Parts) > maxCount || len(m.Descriptors) > MaxDescriptors {
		return fmt.Errorf("send message %q: %d and %d bytes in %d parts with %d descriptors are too much",
			m.Kind, len(text), total, len(m.Parts), len(m.Descriptors))
	}
	// The descriptors go with the first bytes, which are received by themselves.
	prefix := binary.BigEndian.AppendUint32(magic[:], uint32(len(text)))
	prefix = binary.BigEndian.AppendUint32(prefix, uint32(len(m.Descriptors)))
	var rights []byte
	if len(m.Descriptors) > 0 {
		rights = unix.UnixRights(m.Descriptors...)
	}
	n, _, err := l.conn.WriteMsgUnix(prefix, rights, nil)
	if err == nil {
		_, err = l.conn.Write(append(prefix[n:], text...))
	}
	for _, p := range m.Parts {
		if err == nil {
			_, err = l.conn.Write(p)
		}
	}
	if err != nil {
		return fmt.Errorf("send message %q: %w", m.Kind, err)
	}
	return nil
}

// Receive waits for the next message. io.EOF says that the other end was closed, or
// its process has ended, between two messages.
func (l *Link) Receive() (*Message, error) {
	prefix := make([]byte, 12)
	rights := make([]byte, unix.CmsgSpace(MaxDescriptors*4))
	n, used, flags, _, err := l.conn.ReadMsgUnix(prefix, rights)
	m := &Message{}
	if used > 0 {
		m.Descriptors, err = parseRights(rights[:used], err)
	}
	switch {
	case n == 0 && (err == nil || errors.Is(err, io.EOF)):
		return nil, io.EOF
	case err != nil:
	case flags&unix.MSG_CTRUNC != 0:
		err = errors.New("some of its descriptors were lost; this process may have no more")
	default:
		_, err = io.ReadFull(l.conn, prefix[n:])
	}
	if err == nil {
		err = l.receive(m, prefix)
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("receive a message: %w", err)
	}
	return m, nil
}

// receive reads what follows the prefix.
func (l *Link) receive(m *Message, prefix []byte) error {
	length, descriptors := binary.BigEndian.Uint32(prefix[4:]), binary.BigEndian.Uint32(prefix[8:])
	if [4]byte(prefix) != magic || length > maxHead || uint64(descriptors) != uint64(len(m.Descriptors)) {
		return fmt.Errorf("%x is not the beginning of one with %d descriptors", prefix, len(m.Descriptors))
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(l.conn, text); err != nil {
		return err
	}
	var h head
	if err := json.Unmarshal(text, &h); err != nil {
		return err
	}
	if len(h.Parts) > maxCount {
		return fmt.Errorf("%d parts are too many", len(h.Parts))
	}
	left := maxParts
	for _, n := range h.Parts {
		if n < 0 || n > left {
			return fmt.Errorf("a part of %d bytes is too long", n)
		}
		left -= n
		part := make([]byte, n)
		if _, err := io.ReadFull(l.conn, part); err != nil {
			return err
		}
		m.Parts = append(m.Parts, part)
	}
	m.Kind, m.Body = h.Kind, h.Body
	return nil
}

// parseRights returns the descriptors that came with a message.
func parseRights(b []byte, failed error) (descriptors []int, err error) {
	messages, err := unix.ParseSocketControlMessage(b)
	for i := range messages {
		if fds, notRights := unix.ParseUnixRights(&messages[i]); notRights == nil {
			descriptors = append(descriptors, fds...)
		}
	}
	return descriptors, errors.Join(failed, err)
}
