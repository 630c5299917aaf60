package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	space = " \t\r\n" // what JSON allows around a value

	maxBody   = 64 << 10
	maxText   = 512 // bytes in the name of a pool or the address of a server
	maxWeight = 256
	maxActive = 1000000 // the largest max_connections
	maxQuoted = 64      // bytes of the client's own text that an error repeats
)

// change is what a request says, field by field; nil: not said.
type change struct {
	pool, server, level    *string
	weight, maxConnections *int
	force, dryRun          *bool
	timeout                *time.Duration
}

// readBody returns the whole body, nil when there is nothing but white space.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		if len(bytes.Trim(body, space)) == 0 {
			body = nil
		}
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &Refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody)}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &Refusal{http.StatusRequestTimeout, "the body did not arrive in time"}
	}
	return nil, Invalid("the body broke off: %v", err)
}

// decode reads one JSON object with the allowed fields, each at most once.
// What encoding/json would let pass (other spellings of a name, the last of
// two, text that is not UTF-8) is refused.
func decode(body []byte, allowed []string) (change, error) {
	var said change
	if err := checkJSON(body); err != nil {
		return said, err
	}
	if value := bytes.TrimLeft(body, space); value[0] != '{' {
		return said, Invalid("the body is %s; send a JSON object with the fields %s", kind(value), list(allowed))
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	_, err := decoder.Token()
	var seen []string
	for err == nil && decoder.More() {
		var name string
		var value json.RawMessage
		if name, value, err = nextField(decoder); err != nil {
			break
		}
		switch {
		case !slices.Contains(allowed, name):
			err = Invalid("field %s is not known; the fields are %s", clip(name), list(allowed))
		case slices.Contains(seen, name):
			err = Invalid("field %q is given twice", name)
		default:
			seen = append(seen, name)
			err = said.set(name, value)
		}
	}
	return said, err
}

// checkJSON reports what keeps body from being one JSON value, and where.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return Invalid("the body is not valid JSON: it is not UTF-8")
	}
	var whole json.RawMessage
	err := json.Unmarshal(body, &whole)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return Invalid("the body is not valid JSON: %v at byte %d", syntax, syntax.Offset)
	}
	return err
}

func nextField(decoder *json.Decoder) (name string, value json.RawMessage, err error) {
	key, err := decoder.Token()
	if err != nil {
		return "", nil, err
	}
	name, _ = key.(string) // checkJSON let only strings pass as keys
	err = decoder.Decode(&value)
	return name, value, err
}

// set takes the JSON value of a field.
func (c *change) set(name string, value json.RawMessage) (err error) {
	switch name {
	case "pool":
		c.pool, err = text(name, value)
	case "server":
		c.server, err = text(name, value)
	case "level":
		c.level, err = text(name, value)
	case "weight":
		c.weight, err = number(name, value, 1, maxWeight)
	case "max_connections":
		c.maxConnections, err = number(name, value, 0, maxActive)
	case "force":
		c.force, err = flag(name, string(value))
	}
	return err
}

// decodeQuery reads a query that may have these parameters.
func decodeQuery(raw string, allowed []string) (change, error) {
	var said change
	values, err := parameters(raw, allowed)
	if err != nil {
		return said, err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch value := values[name]; name {
		case "pool":
			said.pool, err = bounded(name, value)
		case "server":
			said.server, err = bounded(name, value)
		case "force":
			said.force, err = flag(name, value)
		case "dry_run":
			said.dryRun, err = flag(name, value)
		case "timeout":
			said.timeout, err = duration(name, value)
		}
		if err != nil {
			return said, err
		}
	}
	return said, nil
}

// parameters returns those of a query, of which there may be these, each once.
func parameters(raw string, allowed []string) (map[string]string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, Invalid("the query is not valid: %v", err)
	}
	all := make(map[string]string, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		given := values[name]
		if len(allowed) == 0 {
			return nil, Invalid("query parameter %s is not known; there are no parameters here", clip(name))
		}
		if !slices.Contains(allowed, name) {
			return nil, Invalid("query parameter %s is not known; the parameters are %s", clip(name), list(allowed))
		}
		if len(given) > 1 {
			return nil, Invalid("query parameter %q is given %d times; give it once", name, len(given))
		}
		all[name] = given[0]
	}
	return all, nil
}

func text(name string, value json.RawMessage) (*string, error) {
	var s string
	if value[0] != '"' || json.Unmarshal(value, &s) != nil {
		return nil, Invalid("field %q is %s; it must be a string", name, kind(value))
	}
	return bounded(name, s)
}

func bounded(name, s string) (*string, error) {
	if s == "" || len(s) > maxText || !utf8.ValidString(s) {
		return nil, Invalid("%q is %s; it must have 1 to %d bytes of UTF-8", name, clip(s), maxText)
	}
	return &s, nil
}

// number takes whole numbers only, in digits: 1.0 and 1e2 are refused.
func number(name string, value json.RawMessage, least, most int) (*int, error) {
	n, err := strconv.Atoi(string(value))
	if err != nil || n < least || n > most {
		return nil, Invalid("field %q is %s; it must be a whole number from %d to %d", name, kind(value), least, most)
	}
	return &n, nil
}

func flag(name, value string) (*bool, error) {
	if value != "true" && value != "false" {
		return nil, Invalid("%q is %s; it must be true or false", name, clip(value))
	}
	on := value == "true"
	return &on, nil
}

// agree joins what the query says about a field to what the body says.
func agree[T comparable](name string, body **T, query *T) error {
	switch {
	case query == nil:
	case *body == nil:
		*body = query
	case **body != *query:
		return Invalid("the body and the query differ in %q; give it once", name)
	}
	return nil
}

func or[T any](said *T, otherwise T) T {
	if said == nil {
		return otherwise
	}
	return *said
}

// kind says in words what a valid JSON value is.
func kind(value []byte) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		var s string
		if json.Unmarshal(value, &s) != nil {
			return "a string"
		}
		return "the string " + clip(s)
	}
	if len(value) > maxQuoted {
		return string(value[:maxQuoted]) + "…"
	}
	return string(value)
}

// clip quotes text of the client's, as much of it as an error should repeat.
func clip(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	return strconv.Quote(strings.ToValidUTF8(s[:maxQuoted], "")) + "…"
}

func list(names []string) string { return strings.Join(names, ", ") }
