package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
)

// The sizes of bodies: of an answer to GET /SIZE, and of what is posted.
const (
	small    = 128
	medium   = 16 << 10
	large    = 1 << 20
	maxHead  = 8 << 10
	postSize = medium
)

// answers holds the whole answer for a path, the one that keeps the connection
// first, then the one that closes it.
var answers = map[string][2][]byte{
	"/128":     makeAnswers(small),
	"/16384":   makeAnswers(medium),
	"/1048576": makeAnswers(large),
}

func makeAnswers(size int) [2][]byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n", size)
	return [2][]byte{
		append([]byte(head+"\r\n"), pattern[:size]...),
		append([]byte(head+"Connection: close\r\n\r\n"), pattern[:size]...),
	}
}

// answerHTTP serves the requests of one connection. It is lenient where that
// cannot matter, because only proxies under test send to it.
func answerHTTP(conn net.Conn) error {
	buf := make([]byte, maxHead+postSize)
	kept := 0 // bytes in buf that are read and not yet used
	for {
		head, n, err := readHead(conn, buf, kept)
		if err != nil {
			return err
		}
		req, err := parseRequest(buf[:head])
		if err != nil {
			return &wrongInput{err}
		}
		end := head + req.length
		if n < end {
			more, err := io.ReadAtLeast(conn, buf[n:], end-n)
			if err != nil {
				return err
			}
			n += more
		}
		if err := verify(buf[head:end], 0); err != nil {
			return &wrongInput{err}
		}
		if _, err := conn.Write(req.answer); err != nil || req.last {
			return err
		}
		kept = copy(buf, buf[end:n])
	}
}

var headEnd = []byte("\r\n\r\n")

// readHead reads on behind the kept bytes in buf until a head is complete. It
// returns the length of the head and of all that is in buf now.
func readHead(r io.Reader, buf []byte, kept int) (head, n int, err error) {
	n = kept
	for {
		if i := bytes.Index(buf[:n], headEnd); i >= 0 {
			return i + len(headEnd), n, nil
		}
		if n == len(buf) {
			return 0, n, fmt.Errorf("head of more than %d bytes", n)
		}
		more, err := r.Read(buf[n:])
		n += more
		if more == 0 && err != nil {
			return 0, n, err
		}
	}
}

type request struct {
	answer []byte
	length int  // of the body
	last   bool // the connection ends with it
}

func parseRequest(head []byte) (request, error) {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	path, _, _ := bytes.Cut(rest, []byte(" "))
	answer, ok := answers[string(path)]
	if !ok || (string(method) != "GET" && string(method) != "POST") {
		return request{}, fmt.Errorf("unexpected request %q", line)
	}
	req := request{answer: answer[0]}
	if value, ok := field(fields, "content-length"); ok {
		n, err := strconv.Atoi(string(value))
		if err != nil || n < 0 || n > postSize {
			return request{}, fmt.Errorf("content-length %q is not 0 to %d", value, postSize)
		}
		req.length = n
	}
	if _, ok := field(fields, "transfer-encoding"); ok {
		return request{}, fmt.Errorf("unexpected transfer-encoding in %q", head)
	}
	if value, _ := field(fields, "connection"); bytes.EqualFold(value, []byte("close")) {
		req.answer, req.last = answer[1], true
	}
	return req, nil
}

// field returns the value of the first header field of that name, which must be
// in lower case.
func field(fields []byte, name string) ([]byte, bool) {
	for line := range bytes.SplitSeq(fields, []byte("\r\n")) {
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:]), true
		}
	}
	return nil, false
}
