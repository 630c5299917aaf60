package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// hidden stands for the value of a request header, which may be a secret.
const hidden = "(hidden)"

// JSON returns a completed Config as a file that says everything, its defaults
// included; what such a file may not say, because there is none of it, is left out.
// It is for others to look at: it has hidden in place of the values that
// request_headers set or add.
func (c *Config) JSON() []byte {
	var b bytes.Buffer
	encode(&b, reflect.ValueOf(*c))
	return b.Bytes()
}

// Hidden returns the values that JSON hides, in the order of the file.
func (c *Config) Hidden() (values []string) {
	for _, l := range c.Listeners {
		for _, r := range l.Routes {
			if r.RequestHeaders == nil {
				continue
			}
			for _, one := range slices.Concat(r.RequestHeaders.Set, r.RequestHeaders.Add) {
				values = append(values, one.Value)
			}
		}
	}
	return values
}

// encode writes a value as a file has it.
func encode(b *bytes.Buffer, v reflect.Value) {
	switch value := v.Interface().(type) {
	case time.Duration:
		quoteJSON(b, value.String())
	case []StatusRange:
		texts := make([]string, len(value))
		for i, r := range value {
			texts[i] = r.String()
		}
		quoteJSON(b, strings.Join(texts, ","))
	case netip.Prefix, netip.Addr:
		quoteJSON(b, fmt.Sprint(value))
	case []Header:
		encodeMembers(b, len(value), func(i int) (string, func()) {
			return value[i].Name, func() { quoteJSON(b, value[i].Value) }
		})
	default:
		encodeKind(b, v)
	}
}

func encodeKind(b *bytes.Buffer, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		quoteJSON(b, v.String())
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int:
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Pointer:
		encode(b, v.Elem())
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			encode(b, v.Index(i))
		}
		b.WriteByte(']')
	default:
		encodeStruct(b, v)
	}
}

func encodeStruct(b *bytes.Buffer, v reflect.Value) {
	if off := v.FieldByName("Off"); off.IsValid() && off.Bool() {
		b.WriteString("false")
		return
	}
	var members []int
	for i := range v.NumField() {
		if shown(v.Type(), v.Type().Field(i).Name, v.Field(i).IsZero()) {
			members = append(members, i)
		}
	}
	encodeMembers(b, len(members), func(i int) (string, func()) {
		name, field := v.Type().Field(members[i]).Name, v.Field(members[i])
		return MemberName(name), func() { encodeField(b, name, field) }
	})
}

// shown reports whether a field is written: what is zero is not there, but for the
// numbers of Retries and for a State that is false.
func shown(in reflect.Type, name string, zero bool) bool {
	switch in {
	case reflect.TypeFor[Retries]():
		return true
	case reflect.TypeFor[Config]():
		return name == "State" || name != "File" && !zero
	}
	return !zero
}

func encodeField(b *bytes.Buffer, name string, field reflect.Value) {
	switch {
	case name == "State" && field.IsZero():
		b.WriteString("false")
	case name == "RequestHeaders":
		encode(b, reflect.ValueOf(field.Interface().(*Headers).withoutValues()))
	default:
		encode(b, field)
	}
}

// withoutValues returns which headers are changed, but not to what.
func (h *Headers) withoutValues() Headers {
	hide := func(all []Header) []Header {
		names := make([]Header, len(all))
		for i, one := range all {
			names[i] = Header{one.Name, hidden}
		}
		return names
	}
	hiding := Headers{Remove: h.Remove}
	if len(h.Set) > 0 {
		hiding.Set = hide(h.Set)
	}
	if len(h.Add) > 0 {
		hiding.Add = hide(h.Add)
	}
	return hiding
}

// encodeMembers writes an object; member returns the key of each, and what writes its
// value.
func encodeMembers(b *bytes.Buffer, n int, member func(i int) (key string, value func())) {
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		key, value := member(i)
		quoteJSON(b, key)
		b.WriteByte(':')
		value()
	}
	b.WriteByte('}')
}

func quoteJSON(b *bytes.Buffer, s string) {
	text, _ := json.Marshal(s) // has no error for a string
	b.Write(text)
}

// MemberName is what a config file calls a field: TCPUserTimeout is tcp_user_timeout.
func MemberName(field string) string {
	var name strings.Builder
	letters := []rune(field)
	for i, r := range letters {
		begins := unicode.IsUpper(r) && i > 0 && (unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]))
		if begins {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToLower(r))
	}
	return name.String()
}
