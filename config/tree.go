package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxDepth  = 16      // how deep values may be nested
	maxValues = 1 << 18 // how many values a file may have, so that a small file cannot take much memory
)

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

// A node is one JSON value and where in the text it begins.
type node struct {
	kind    kind
	bad     bool     // a problem with it was reported while decoding: nothing more to say of it
	at      int      // offset in bytes
	text    string   // the content of a string, the literal of a number or bool
	items   []node   // of an array
	members []member // of an object, in the order of the text
}

type member struct {
	key   string
	at    int // where the key begins
	value node
}

// member returns the value of the first member with that key, or nil.
func (n *node) member(key string) *node {
	for i := range n.members {
		if n.members[i].key == key {
			return &n.members[i].value
		}
	}
	return nil
}

// String says what was found, for a message.
func (n *node) String() string {
	switch n.kind {
	case kindNumber:
		return "the number " + clip(n.text)
	case kindString:
		return "the string " + quote(n.text)
	case kindArray:
		return "an array"
	case kindObject:
		return "an object"
	default:
		return n.text
	}
}

// A place is where in a config a value stands: its path for the reader and,
// when it was given in a file, its node.
type place struct {
	up    *place // nil for the whole
	key   string // of an object
	index int    // of an array; -1 in an object
	node  *node  // nil: not given
}

// member returns the place of a key.
func (p *place) member(key string) *place {
	child := &place{up: p, key: key, index: -1}
	if p.node != nil {
		child.node = p.node.member(key)
	}
	return child
}

// item returns the place of an element of an array.
func (p *place) item(i int) *place {
	child := &place{up: p, index: i}
	if p.node != nil && i < len(p.node.items) {
		child.node = &p.node.items[i]
	}
	return child
}

func (p *place) given() bool { return p.node != nil }

// bad reports whether the value could not be made out.
func (p *place) bad() bool { return p.node != nil && p.node.bad }

// offset returns where the value begins, or that around it when it was not
// given; -1 when there is no file.
func (p *place) offset() int {
	for ; p != nil; p = p.up {
		if p.node != nil {
			return p.node.at
		}
	}
	return -1
}

// show returns a number or string as it was written, or else the value.
func (p *place) show(value any) string {
	switch {
	case p.node != nil && p.node.kind == kindNumber:
		return clip(p.node.text)
	case p.node != nil && p.node.kind == kindString:
		return quote(p.node.text)
	}
	if s, ok := value.(string); ok {
		return quote(s)
	}
	return fmt.Sprint(value)
}

// String returns the path, such as pools[0].servers[1].weight, and "" for the
// whole. A key that is not one of ours stands in brackets and quotes.
func (p *place) String() string {
	if p == nil || p.up == nil {
		return ""
	}
	before := p.up.String()
	switch {
	case p.index >= 0:
		return before + "[" + strconv.Itoa(p.index) + "]"
	case p.key == "" || strings.Trim(p.key, "abcdefghijklmnopqrstuvwxyz_") != "":
		return before + "[" + quote(p.key) + "]"
	case before == "":
		return p.key
	}
	return before + "." + p.key
}

// A refusal says why a text is no tree, and from which offset on.
type refusal struct {
	at   int
	text string
}

// buildTree parses the one JSON value that data consists of.
func buildTree(data []byte) (*node, *refusal) {
	if at := invalidUTF8(data); at >= 0 {
		return nil, &refusal{at, "not valid JSON: a byte that is not UTF-8"}
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		at := 0
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			at = max(0, int(syntax.Offset)-1)
		}
		return nil, &refusal{at, "not valid JSON: " + err.Error()}
	}
	b := builder{data: data, tokens: json.NewDecoder(bytes.NewReader(data))}
	b.tokens.UseNumber()
	root := b.value(0)
	return &root, b.refused
}

func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	at := 0
	for {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
}

// A builder makes nodes of text that is known to be valid JSON.
type builder struct {
	data    []byte
	tokens  *json.Decoder
	values  int
	refused *refusal // once set, all ends
}

// next returns the next token and where it begins.
func (b *builder) next() (token json.Token, at int) {
	at = int(b.tokens.InputOffset())
	for at < len(b.data) && strings.IndexByte(" \t\r\n,:", b.data[at]) >= 0 {
		at++
	}
	token, err := b.tokens.Token()
	if err != nil {
		b.refuse(at, "not valid JSON: "+err.Error())
	}
	return token, at
}

func (b *builder) refuse(at int, text string) {
	if b.refused == nil {
		b.refused = &refusal{at, text}
	}
}

func (b *builder) value(depth int) node {
	token, at := b.next()
	n := node{at: at}
	if b.values++; b.values > maxValues {
		b.refuse(at, fmt.Sprintf("more than the %d values that are allowed", maxValues))
		return n
	}
	switch t := token.(type) {
	case nil:
		n.text = "null"
	case bool:
		n.kind, n.text = kindBool, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = kindNumber, t.String()
	case string:
		n.kind, n.text = kindString, t
	case json.Delim:
		if depth == maxDepth {
			b.refuse(at, fmt.Sprintf("nested deeper than the %d levels that are allowed", maxDepth))
			return n
		}
		b.fill(&n, t, depth)
	}
	return n
}

// fill reads what is in an array or object, and its end.
func (b *builder) fill(n *node, open json.Delim, depth int) {
	n.kind = kindArray
	if open == '{' {
		n.kind = kindObject
	}
	for b.refused == nil && b.tokens.More() {
		if n.kind == kindArray {
			n.items = append(n.items, b.value(depth+1))
			continue
		}
		key, at := b.next()
		name, _ := key.(string)
		n.members = append(n.members, member{name, at, b.value(depth + 1)})
	}
	if b.refused == nil {
		b.next()
	}
}
