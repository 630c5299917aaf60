package config

import (
	"slices"
	"strings"
)

const (
	framing    = "it says where a message ends, which is settled anew for each connection"
	connection = "it concerns one connection, and each has its own"
)

// reserved is the fields that nobody may change, in lower case, with the reason:
// RFC 9110 section 7.6.1 and RFC 9112 section 6.
var reserved = map[string]string{
	"content-length":    framing,
	"transfer-encoding": framing,
	"trailer":           framing,
	"expect":            "it is settled between client and server",
	"connection":        connection,
	"keep-alive":        connection,
	"proxy-connection":  connection,
	"te":                connection,
	"upgrade":           connection,
}

func (p *problems) headers(at *place) *Headers {
	h := &Headers{}
	if o := p.object(at, "an object with set, add or remove"); o != nil {
		h.Set = o.fields("set")
		h.Add = o.fields("add")
		h.Remove = list(o, "remove", p.fieldName)
		o.end()
	}
	return h
}

// fields reads an object whose keys are names of headers.
func (o *object) fields(key string) (all []Header) {
	at := o.typed(key, `an object such as {"X-Frame-Options": "DENY"}`, kindObject)
	if at == nil {
		return nil
	}
	if n := len(at.node.members); n > maxEdits {
		o.addBad(at, "%d of them are too many; use at most %d", n, maxEdits)
		return nil
	}
	each := &object{problems: o.problems, at: at}
	for _, m := range at.node.members {
		if slices.Contains(each.allowed, m.key) {
			continue
		}
		h := Header{Name: m.key}
		each.text(m.key, "a string", &h.Value)
		all = append(all, h)
	}
	each.end()
	return all
}

func (p *problems) fieldName(at *place) string {
	if at.node.kind != kindString {
		p.addBad(at, "found %v; use %s", at.node, fieldForm)
		return ""
	}
	return at.node.text
}

// completeHeaders checks what a route changes of the heads of requests, or of
// answers.
func (p *problems) completeHeaders(h *Headers, at *place, request bool) {
	if h == nil || at.bad() {
		return
	}
	n := len(h.Set) + len(h.Add) + len(h.Remove)
	if p.atMost(at, n, maxEdits) < n {
		return
	}
	p.completeFields(h.Set, at.member("set"), request, make(map[string]*place))
	p.completeFields(h.Add, at.member("add"), request, nil)
	remove, seen := at.member("remove"), make(map[string]*place)
	for i, name := range h.Remove {
		if item := remove.item(i); !item.bad() {
			p.field(name, item, request, seen)
		}
	}
}

func (p *problems) completeFields(fields []Header, at *place, request bool, seen map[string]*place) {
	for _, h := range fields {
		where := at.member(h.Name)
		p.field(h.Name, where, request, seen)
		if !where.bad() && !validValue(h.Value) {
			p.add(where, "the value %s is not allowed; use %s", quote(h.Value), valueForm)
		}
	}
}

// field checks the name of a field. seen has those before it, in lower case, and
// where they were; nil if one may come again.
func (p *problems) field(name string, at *place, request bool, seen map[string]*place) {
	lower := strings.ToLower(name)
	switch reason := reserved[lower]; {
	case !validField(name):
		p.add(at, "the name %s is not allowed; use %s", quote(name), fieldForm)
	case reason != "":
		p.add(at, "%s is not allowed, for %s; leave it out", quote(name), reason)
	case request && lower == "host":
		p.add(at, "%s is not allowed here; use rewrite_host of the pool", quote(name))
	case seen[lower] != nil:
		p.add(at, "%s is already changed by %v; keep one of them", quote(name), seen[lower])
	case seen != nil:
		seen[lower] = at
	}
}

// validField reports whether s is a token: RFC 9110 section 5.6.2.
func validField(s string) bool {
	return s != "" && len(s) <= maxField && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

// validValue reports whether s can be the value of a field: RFC 9110 section 5.5.
func validValue(s string) bool {
	return len(s) <= maxValue && s == strings.Trim(s, " \t") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
