package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// version is that of the files that this package reads and writes.
const version = 1

var (
	fileMembers   = []string{"version", "servers"}
	recordMembers = []string{"pool", "server", "source", "weight", "max_connections", "deleted", "draining"}
)

// parse reads what a file says. address returns the one form of a server's address,
// or why it is none. The error begins with line and column.
func parse(data []byte, address func(string) (string, error)) (*State, error) {
	p := &parser{data: data, tokens: json.NewDecoder(bytes.NewReader(data)), address: address}
	p.tokens.UseNumber()
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			p.at = max(0, int(syntax.Offset)-1)
		}
		return nil, p.refuse("not valid JSON: %v", err)
	}
	s := &State{}
	if err := p.file(s); err != nil {
		return nil, err
	}
	return s, nil
}

// A parser reads text that is known to be valid JSON, and ends at the first thing
// that it does not understand.
type parser struct {
	data    []byte
	tokens  *json.Decoder
	at      int    // where what was read last begins
	where   string // what stands before every error: "" or the record and a colon
	address func(string) (string, error)
}

// refuse returns an error about what was read last.
func (p *parser) refuse(format string, args ...any) error {
	before := p.data[:min(p.at, len(p.data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Errorf("%d:%d: %s%w", line, column, p.where, fmt.Errorf(format, args...))
}

func (p *parser) file(s *State) error {
	found := 0
	err := p.object(fileMembers, func(member string) (err error) {
		if member == "servers" {
			return p.servers(s)
		}
		found, err = p.whole(member, checkVersion)
		return err
	})
	if err == nil && found == 0 {
		err = p.refuse("version is missing; use %d", version)
	}
	return err
}

func (p *parser) servers(s *State) error {
	if token, err := p.next(); err != nil || token != json.Delim('[') {
		return p.mistaken("servers", token, "an array", err)
	}
	for i := 0; p.tokens.More(); i++ {
		p.where = "servers[" + strconv.Itoa(i) + "]: "
		k, r, err := p.record()
		if err != nil {
			return err
		}
		if _, twice := s.records[k]; twice {
			return p.refuse("server: %q of pool %q is recorded before; keep one of them", k.server, k.pool)
		}
		s.put(k, r, true)
	}
	p.where = ""
	_, err := p.next()
	return err
}

func (p *parser) record() (k key, r record, err error) {
	r = record{weight: unset, maxConnections: unset}
	nothing := r
	source := ""
	err = p.object(recordMembers, func(member string) (err error) {
		switch member {
		case "pool":
			k.pool, err = p.text(member, checkPool)
		case "server":
			k.server, err = p.server(member)
		case "source":
			source, err = p.text(member, checkSource)
		case "weight":
			r.weight, err = p.whole(member, checkWeight)
		case "max_connections":
			r.maxConnections, err = p.whole(member, checkMaxConnections)
		case "deleted":
			r.deleted, err = p.flag(member)
		case "draining":
			r.draining, err = p.flag(member)
		}
		return err
	})
	nothing.deleted = r.deleted
	switch {
	case err != nil:
	case k.pool == "" || k.server == "" || source == "":
		err = p.refuse("pool, server and source are required")
	case r.deleted && source == Uploaded:
		err = p.refuse("deleted: an uploaded server that is deleted has no record; remove this one")
	case r.deleted && r != nothing:
		err = p.refuse("deleted: a server that is deleted has no weight, max_connections and draining; remove them or deleted")
	case source == Uploaded:
		r.uploaded, r.weight, r.maxConnections = true, max(r.weight, 1), max(r.maxConnections, 0)
	}
	return k, r, err
}

// object reads an object; read is called to read the value of each of its members.
// Errors after it are about the object.
func (p *parser) object(allowed []string, read func(member string) error) error {
	token, err := p.next()
	if err != nil || token != json.Delim('{') {
		return p.mistaken("", token, "an object", err)
	}
	start := p.at
	seen := 0
	for p.tokens.More() {
		token, err := p.next()
		if err != nil {
			return err
		}
		member, _ := token.(string)
		i := slices.Index(allowed, member)
		switch {
		case i < 0:
			return p.refuse("the key %.80q is not known; allowed are %s", member, strings.Join(allowed, ", "))
		case seen&(1<<i) != 0:
			return p.refuse("the key %q is given more than once; keep one of them", member)
		}
		seen |= 1 << i
		if err := read(member); err != nil {
			return err
		}
	}
	_, err = p.next()
	p.at = start
	return err
}

// next returns the next token.
func (p *parser) next() (json.Token, error) {
	p.at = int(p.tokens.InputOffset())
	for p.at < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[p.at]) >= 0 {
		p.at++
	}
	token, err := p.tokens.Token()
	if err != nil {
		return nil, p.refuse("not valid JSON: %w", err)
	}
	return token, nil
}

// mistaken returns err or else an error about a token of the wrong type.
func (p *parser) mistaken(member string, token json.Token, want string, err error) error {
	if err != nil {
		return err
	}
	if member != "" {
		member += ": "
	}
	found := fmt.Sprintf("%.80v", token)
	switch t := token.(type) {
	case nil:
		found = "null"
	case string:
		found = fmt.Sprintf("%.80q", t)
	}
	return p.refuse("%sfound %s; use %s", member, found, want)
}

func (p *parser) text(member string, check func(string) error) (string, error) {
	token, err := p.next()
	s, ok := token.(string)
	if !ok {
		return "", p.mistaken(member, token, "a string", err)
	}
	if err := check(s); err != nil {
		return "", p.refuse("%w", err)
	}
	return s, nil
}

func (p *parser) server(member string) (string, error) {
	s, err := p.text(member, checkServer)
	if err != nil {
		return "", err
	}
	if s, err = p.address(s); err != nil {
		return "", p.refuse("%s: %w", member, err)
	}
	return s, nil
}

func (p *parser) whole(member string, check func(int) error) (int, error) {
	token, err := p.next()
	number, _ := token.(json.Number)
	n, wrong := strconv.Atoi(number.String())
	if err != nil || wrong != nil {
		return 0, p.mistaken(member, token, "a whole number", err)
	}
	if err := check(n); err != nil {
		return 0, p.refuse("%w", err)
	}
	return n, nil
}

func (p *parser) flag(member string) (bool, error) {
	token, err := p.next()
	b, ok := token.(bool)
	if !ok {
		return false, p.mistaken(member, token, "true or false", err)
	}
	return b, nil
}
