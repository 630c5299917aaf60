package httpproxy

import (
	"bufio"
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strconv"

	"github.com/valyala/fasthttp"
)

// maxHead bounds a head, start line included, and is the size of every read
// buffer.
const maxHead = 16 << 10

// Every field is compared with every connection option, so both are bounded.
const (
	maxFields  = 256
	maxOptions = 16
)

// Lengths of a body that is not announced by Content-Length.
const (
	lengthNone    = -1
	lengthChunked = -2
)

var (
	errHeadTooLarge = errors.New("the head is too large")
	errSyntax       = errors.New("the head is malformed")
	errFraming      = errors.New("the length of the body is ambiguous")
	errHost         = errors.New("one Host is needed, and a valid one")
	errVersion      = errors.New("the HTTP version is not 1.0 or 1.1")
)

type field struct{ name, value []byte }

// A head is what a request and an answer have in common, checked strictly
// before fasthttp parses it. Its slices are valid until the next read.
type head struct {
	raw     []byte
	fields  []field
	length  int64    // of the body, or lengthNone or lengthChunked
	options [][]byte // what Connection names
	upgrade []byte
	http10  bool
}

// A request is a client's head. Only its body's end tells where the next one
// begins.
type request struct {
	head
	parsed   fasthttp.RequestHeader
	target   []byte // origin-form or "*"
	host     []byte
	upgrades bool // whether it asks for an upgrade that can be passed on
}

// An answer is a server's head.
type answer struct {
	head
	parsed fasthttp.ResponseHeader
}

// read takes a request's head off br. Network errors come back as they are.
func (r *request) read(br *bufio.Reader) error {
	r.parsed.Reset()
	r.parsed.DisableNormalizing()
	if err := r.head.read(br, &r.parsed); err != nil {
		return err
	}
	if err := r.version(r.parsed.Protocol()); err != nil {
		return err
	}
	if err := r.findHost(); err != nil {
		return err
	}
	bodyless := r.length == lengthNone || r.length == 0
	r.upgrades = len(r.upgrade) > 0 && r.has("upgrade") && !r.http10 && bodyless &&
		!is(r.upgrade, "h2c") // would hide the requests within from this proxy
	return nil
}

// findHost checks Host and the target; a target in absolute-form (RFC 9112,
// section 3.2.2) has to agree with Host and is forwarded in origin-form.
func (r *request) findHost() error {
	r.host, r.target = nil, r.parsed.RequestURI()
	hosts := 0
	connect := string(r.parsed.Method()) == "CONNECT"
	for _, f := range r.fields {
		if is(f.name, "host") {
			hosts++
			r.host = f.value
		}
	}
	if hosts > 1 || hosts == 0 && !r.http10 || hosts == 1 && !isHost(r.host) {
		return errHost
	}
	if bytes.IndexByte(r.target, '#') >= 0 {
		return errSyntax // a fragment is not for servers, and they differ in what they make of it
	}
	if r.target[0] == '/' || connect {
		return nil
	}
	if string(r.target) == "*" {
		if string(r.parsed.Method()) != "OPTIONS" {
			return errSyntax
		}
		return nil
	}
	scheme, rest, _ := bytes.Cut(r.target, []byte("://"))
	if !is(scheme, "http") && !is(scheme, "https") {
		return errSyntax
	}
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 || rest[end] != '/' {
		return errSyntax
	}
	if !bytes.EqualFold(rest[:end], r.host) {
		return errHost
	}
	r.target = rest[end:]
	return nil
}

// read takes an answer's head off br.
func (a *answer) read(br *bufio.Reader) error {
	a.parsed.Reset()
	a.parsed.DisableNormalizing()
	if err := a.head.read(br, &a.parsed); err != nil {
		return err
	}
	if code := a.parsed.StatusCode(); code < 100 || code > 599 {
		return errSyntax
	}
	return a.version(a.parsed.Protocol())
}

func (h *head) version(protocol []byte) error {
	h.http10 = string(protocol) == "HTTP/1.0"
	if !h.http10 && string(protocol) != "HTTP/1.1" {
		return errVersion
	}
	if h.http10 && h.length == lengthChunked {
		return errFraming
	}
	return nil
}

// read checks the next head strictly, then lets fasthttp parse the same bytes.
func (h *head) read(br *bufio.Reader, parser interface{ Read(*bufio.Reader) error }) error {
	if err := h.gather(br); err != nil {
		return err
	}
	if err := h.scan(); err != nil {
		return err
	}
	before := br.Buffered()
	if parser.Read(br) != nil || before-br.Buffered() != len(h.raw) {
		return errSyntax
	}
	return nil
}

// gather waits until a whole head is in br's buffer and copies it. Every line
// has to end in CRLF; one empty line before the head is skipped (RFC 9112,
// section 2.2).
func (h *head) gather(br *bufio.Reader) error {
	line, seen, skipped := 0, 0, false
	for {
		if _, err := br.Peek(seen + 1); err == bufio.ErrBufferFull {
			return errHeadTooLarge
		} else if err != nil {
			return err
		}
		b, _ := br.Peek(br.Buffered())
		for seen < len(b) {
			i := bytes.IndexByte(b[seen:], '\n')
			if i < 0 {
				seen = len(b)
				break
			}
			end := seen + i
			if end == line || b[end-1] != '\r' {
				return errSyntax
			}
			empty := end-line == 1
			line, seen = end+1, end+1
			switch {
			case empty && end > 1:
				h.raw = append(h.raw[:0], b[:line]...)
				return nil
			case empty && skipped:
				return errSyntax
			case empty:
				br.Discard(line)
				b = b[line:]
				line, seen, skipped = 0, 0, true
			}
		}
	}
}

// scan splits the head into its fields and refuses what RFC 9112 leaves open
// to interpretation.
func (h *head) scan() error {
	h.fields, h.options, h.upgrade, h.length = h.fields[:0], h.options[:0], nil, lengthNone
	start, lines, _ := bytes.Cut(h.raw, []byte("\r\n"))
	if !isValue(start) {
		return errSyntax
	}
	for len(lines) > 2 {
		if len(h.fields) == maxFields {
			return errHeadTooLarge
		}
		var line []byte
		line, lines, _ = bytes.Cut(lines, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		value = bytes.Trim(value, " \t")
		if !ok || !isToken(name) || !isValue(value) {
			return errSyntax
		}
		h.fields = append(h.fields, field{name, value})
		if err := h.note(name, value); err != nil {
			return err
		}
	}
	return nil
}

// note takes in what a field says about the message itself.
func (h *head) note(name, value []byte) error {
	switch {
	case is(name, "content-length"):
		n, err := strconv.ParseUint(string(value), 10, 62)
		if h.length != lengthNone || err != nil {
			return errFraming
		}
		h.length = int64(n)
	case is(name, "transfer-encoding"):
		if h.length != lengthNone || !is(value, "chunked") {
			return errFraming
		}
		h.length = lengthChunked
	case is(name, "connection"):
		for option := range bytes.SplitSeq(value, []byte(",")) {
			if len(h.options) == maxOptions {
				return errSyntax
			}
			h.options = append(h.options, bytes.Trim(option, " \t"))
		}
	case is(name, "upgrade"):
		if h.upgrade != nil {
			return errSyntax
		}
		h.upgrade = value
	}
	return nil
}

// has reports whether Connection names an option.
func (h *head) has(option string) bool {
	return slices.ContainsFunc(h.options, func(o []byte) bool { return is(o, option) })
}

// keeps reports whether the sender lets its connection live on after this.
func (h *head) keeps() bool {
	return !h.has("close") && (!h.http10 || h.has("keep-alive"))
}

func is(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

func isToken(b []byte) bool {
	for _, c := range b {
		if !isAlphanumeric(c) && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

// isHost reports whether b can be the value of Host: a name or an IPv4 address,
// or an IPv6 address in brackets, with or without a port.
func isHost(b []byte) bool {
	if rest, ok := bytes.CutPrefix(b, []byte("[")); ok {
		ip, port, ok := bytes.Cut(rest, []byte("]"))
		_, err := netip.ParseAddr(string(ip))
		return ok && err == nil && (len(port) == 0 || port[0] == ':' && isDigits(port[1:]))
	}
	name, port, _ := bytes.Cut(b, []byte(":"))
	for _, c := range name {
		// The characters of a reg-name (RFC 3986, section 3.2.2) but for the
		// comma, which could be taken for a list's.
		if !isAlphanumeric(c) && bytes.IndexByte([]byte("-._~%!$&'()*+;="), c) < 0 {
			return false
		}
	}
	return len(name) > 0 && isDigits(port)
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
