package httpproxy

import (
	"bufio"
	"bytes"
	"errors"
	"time"

	"github.com/valyala/fasthttp"
)

// maxOptions bounds the connection options, with each of which every field may
// have to be compared.
const maxOptions = 16

// Lengths of a body that is not announced by Content-Length.
const (
	lengthNone    = -1
	lengthChunked = -2
)

var (
	errHeadTooLarge  = errors.New("the head is too large")
	errTargetTooLong = errors.New("the target is too long")
	errSyntax        = errors.New("the head is malformed")
	errFraming       = errors.New("the length of the body is ambiguous")
	errHost          = errors.New("one Host is needed, and a valid one")
	errVersion       = errors.New("the HTTP version is not 1.0 or 1.1")
)

type field struct {
	name, value []byte
	kind        kind
}

// A head is what a request and an answer have in common, checked strictly
// before fasthttp parses it. Its slices lie in what it was parsed from.
type head struct {
	fields   []field
	length   int64    // of the body, or lengthNone or lengthChunked
	options  [][]byte // what Connection names, but for those below
	named    int      // how many options there are in all
	upgrade  []byte
	patience time.Duration // how long the sender says it keeps an idle connection; 0: does not say

	http10        bool
	closes        bool // Connection names close,
	keepsAlive    bool // keep-alive,
	wantsUpgrade  bool // upgrade
	takesTrailers bool // TE lists trailers
	expects       bool // 100 (Continue)
}

// A request is a client's head. Only its body's end tells where the next one
// begins.
type request struct {
	head
	raw      []byte // a copy of what came
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

// headEnd returns how long the head is that b begins with, at most that many
// bytes, or 0 if it has not come to its end yet. The first seen bytes were looked
// at before.
func headEnd(b []byte, seen, most int) (int, error) {
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		return 0, errSyntax
	}
	from := max(seen-3, 0)
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		if n := from + i + 4; n <= most {
			return n, nil
		}
		return 0, errHeadTooLarge
	}
	for at := from; ; at++ {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			break
		}
		if at += i; at == 0 || b[at-1] != '\r' {
			return 0, errSyntax
		}
	}
	if len(b) >= most {
		return 0, errHeadTooLarge
	}
	return 0, nil
}

// A parser runs fasthttp's parsers, which want a reader, over bytes at hand: heads
// of limited size.
type parser struct {
	source    bytes.Reader
	reader    *bufio.Reader
	maxBytes  int
	maxFields int
}

func newParser(maxBytes, maxFields int) *parser {
	return &parser{reader: bufio.NewReaderSize(nil, maxBytes), maxBytes: maxBytes, maxFields: maxFields}
}

// parse reports whether all of b is one head to fasthttp.
func (p *parser) parse(b []byte, into interface{ Read(*bufio.Reader) error }) bool {
	p.source.Reset(b)
	p.reader.Reset(&p.source)
	return into.Read(p.reader) == nil && p.reader.Buffered() == 0 && p.source.Len() == 0
}

// parse takes in a request's head, as headEnd found it.
func (r *request) parse(p *parser, b []byte) error {
	r.raw = append(r.raw[:0], b...)
	r.parsed.Reset()
	r.parsed.DisableNormalizing()
	if err := r.scan(r.raw, p.maxFields); err != nil {
		return err
	}
	if !p.parse(r.raw, &r.parsed) {
		return errSyntax
	}
	if err := r.version(r.parsed.Protocol()); err != nil {
		return err
	}
	if err := r.findHost(); err != nil {
		return err
	}
	r.upgrades = canPass(r.upgrade) && r.wantsUpgrade && !r.http10 && r.bodyless()
	return nil
}

// idempotent reports whether it does no harm to send the request twice.
func (r *request) idempotent() bool {
	switch string(r.parsed.Method()) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// distrust forgets a head that could not be parsed.
func (r *request) distrust() {
	r.raw = r.raw[:0]
	r.parsed.Reset()
}

// canPass reports whether an Upgrade field names one protocol, and not h2c, which
// would hide the requests within from this proxy.
func canPass(upgrade []byte) bool {
	name, _, _ := bytes.Cut(upgrade, []byte("/"))
	return len(name) > 0 && !bytes.ContainsRune(upgrade, ',') && !is(name, "h2c")
}

func (h *head) bodyless() bool { return h.length == lengthNone || h.length == 0 }

// findHost checks Host and the target; a target in absolute-form (RFC 9112,
// section 3.2.2) has to agree with Host and is forwarded in origin-form.
func (r *request) findHost() error {
	r.host, r.target = nil, r.parsed.RequestURI()
	hosts := 0
	connect := string(r.parsed.Method()) == "CONNECT"
	for i := range r.fields {
		if f := &r.fields[i]; f.kind == hostField {
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

// parse takes in an answer's head, as headEnd found it. b must not change as
// long as the fields are used.
func (a *answer) parse(p *parser, b []byte) error {
	a.parsed.Reset()
	a.parsed.DisableNormalizing()
	if err := a.scan(b, p.maxFields); err != nil {
		return err
	}
	if !isStatusLine(b) || !p.parse(b, &a.parsed) {
		return errSyntax
	}
	return a.version(a.parsed.Protocol())
}

// isStatusLine reports whether a head begins as that of an answer does: version,
// blank, a status from 100 to 599, and a blank or the end of the line (RFC 9112,
// section 4).
func isStatusLine(b []byte) bool {
	const version = len("HTTP/1.1 ")
	if len(b) < version+4 || b[version-1] != ' ' || b[version] < '1' || b[version] > '5' {
		return false
	}
	behind := b[version+3]
	return isDigits(b[version:version+3]) && (behind == ' ' || behind == '\r')
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

// keeps reports whether the sender lets its connection live on after this.
func (h *head) keeps() bool { return !h.closes && (!h.http10 || h.keepsAlive) }
