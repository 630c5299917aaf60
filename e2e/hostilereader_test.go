package e2e_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// A message is what a reader that knows only one way to write HTTP has found.
type message struct {
	start string // its first line
	body  string
	raw   string // all of its bytes, or what has come of them
}

// What fulcrum may send: nothing here leaves a reader a choice.
var (
	requestLine = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+ (/[^\\x00-\\x20\\x7f#]*|\\*) HTTP/1\\.1$")
	statusLine  = regexp.MustCompile(`^HTTP/1\.1 [1-5][0-9][0-9] [^\x00-\x08\x0a-\x1f\x7f]*$`)
	fieldLine   = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\\x00-\\x08\\x0a-\\x1f\\x7f]*)$")
	hostValue   = regexp.MustCompile(`^([A-Za-z0-9._~%!$&'()*+;=-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?$`)
	lengthValue = regexp.MustCompile(`^(0|[1-9][0-9]{0,18})$`)
	chunkSize   = regexp.MustCompile(`^(0|[1-9a-f][0-9a-f]{0,14})$`)
)

// hidden are names that a server may read as those of fields that frame: the
// others, with a sign that some programs take for a hyphen.
var hidden = regexp.MustCompile(`(?i)^(content[^a-z-]length|transfer[^a-z-]encoding)$`)

// A strictReader takes messages off a connection, byte by byte the one way.
type strictReader struct {
	*bufio.Reader
	raw bytes.Buffer // of the message so far
}

func newStrictReader(r io.Reader) *strictReader { return &strictReader{Reader: bufio.NewReader(r)} }

// request reads one request, which net/http has to read alike.
func (r *strictReader) request() (m message, err error) {
	defer func() { m.raw = r.raw.String() }()
	m, fields, err := r.head(requestLine)
	if err != nil {
		return m, err
	}
	hosts := fields["host"]
	if len(hosts) != 1 || !hostValue.MatchString(hosts[0]) {
		return m, fmt.Errorf("Host %q", hosts)
	}
	if m.body, err = r.body(fields); err != nil {
		return m, err
	}
	return m, readsAlike(m.start, m.body, hosts[0], r.raw.String())
}

// answer reads one answer to a method. Where no length is given the body is none,
// as fulcrum says how long each is that goes to HTTP/1.1.
func (r *strictReader) answer(method string) (m message, err error) {
	defer func() { m.raw = r.raw.String() }()
	m, fields, err := r.head(statusLine)
	if err != nil || method == "HEAD" || strings.HasPrefix(m.start, "HTTP/1.1 304") {
		return m, err
	}
	m.body, err = r.body(fields)
	return m, err
}

// head reads a first line and the fields behind it, by their names in lower case.
func (r *strictReader) head(first *regexp.Regexp) (m message, fields map[string][]string, err error) {
	r.raw.Reset()
	if m.start, err = r.line(); err != nil {
		return m, nil, err
	}
	if !first.MatchString(m.start) {
		return m, nil, fmt.Errorf("a first line %q", m.start)
	}
	fields = make(map[string][]string)
	for {
		line, err := r.line()
		if line == "" || err != nil {
			return m, fields, err
		}
		found := fieldLine.FindStringSubmatch(line)
		if found == nil || hidden.MatchString(found[1]) || found[2] != strings.Trim(found[2], " \t") {
			return m, nil, fmt.Errorf("a field %q", line)
		}
		name := strings.ToLower(found[1])
		fields[name] = append(fields[name], found[2])
	}
}

// line reads up to CRLF.
func (r *strictReader) line() (string, error) {
	line, err := r.ReadString('\n')
	r.raw.WriteString(line)
	if err != nil {
		return "", err
	}
	line, crlf := strings.CutSuffix(line, "\r\n")
	if !crlf || strings.Contains(line, "\r") {
		return "", fmt.Errorf("a line %q that does not end with CRLF", line)
	}
	return line, nil
}

// body reads what the fields announce; without an announcement there is none.
func (r *strictReader) body(fields map[string][]string) (string, error) {
	lengths, codings := fields["content-length"], fields["transfer-encoding"]
	switch {
	case len(lengths)+len(codings) > 1:
		return "", fmt.Errorf("Content-Length %q and Transfer-Encoding %q", lengths, codings)
	case len(codings) == 1 && codings[0] != "chunked":
		return "", fmt.Errorf("Transfer-Encoding %q", codings)
	case len(lengths) == 1 && !lengthValue.MatchString(lengths[0]):
		return "", fmt.Errorf("Content-Length %q", lengths)
	case len(lengths) == 1:
		n, err := strconv.ParseInt(lengths[0], 10, 64)
		if err != nil {
			return "", err
		}
		return r.bytes(n)
	case len(codings) == 1:
		return r.chunks()
	}
	return "", nil
}

func (r *strictReader) bytes(n int64) (string, error) {
	var b strings.Builder
	_, err := io.CopyN(io.MultiWriter(&b, &r.raw), r, n)
	return b.String(), err
}

// chunks reads a chunked body without extensions and trailers.
func (r *strictReader) chunks() (string, error) {
	var all strings.Builder
	for {
		line, err := r.line()
		if err != nil {
			return "", err
		}
		if !chunkSize.MatchString(line) {
			return "", fmt.Errorf("a chunk's size %q", line)
		}
		size, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return "", err
		}
		piece, err := r.bytes(size)
		if err != nil {
			return "", err
		}
		all.WriteString(piece)
		if end, err := r.line(); end != "" || err != nil {
			return "", errors.Join(fmt.Errorf("%q behind a chunk", end), err)
		}
		if size == 0 {
			return all.String(), nil
		}
	}
}

// readsAlike compares a request with what net/http finds in the same bytes, and
// in those behind.
func readsAlike(start, body, host, raw string) error {
	const behind = "behind"
	r := bufio.NewReader(strings.NewReader(raw + behind))
	other, err := http.ReadRequest(r)
	if escape := new(url.Error); errors.As(err, &escape) {
		return nil // a "%" that stands for nothing
	}
	if err != nil {
		return fmt.Errorf("net/http does not read it: %w", err)
	}
	itsBody, err := io.ReadAll(other.Body)
	rest, _ := io.ReadAll(r)
	itsStart := other.Method + " " + other.RequestURI + " HTTP/1.1"
	if err != nil || itsStart != start || other.Host != host || string(itsBody) != body || string(rest) != behind {
		return fmt.Errorf("net/http reads %q to %q with %q, and then %q, error %v", itsStart, other.Host, itsBody, rest, err)
	}
	return nil
}
