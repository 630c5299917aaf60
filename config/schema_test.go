package config

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var compiled = sync.OnceValue(func() *jsonschema.Schema {
	text, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema()))
	if err != nil {
		panic(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("config", text); err != nil {
		panic(err)
	}
	return c.MustCompile("config")
})

// bySchema returns what the schema has against a text, which is JSON.
func bySchema(t *testing.T, text string) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return compiled().Validate(value)
}

// contexts are a file for each protocol that has every object of the schema,
// each saying as little as it may.
var contexts = map[string]string{
	ProtocolTCP: fillTCP(`, "accept_proxy": {"from": ["::1"]}, "routes": [{"sni": "a", "pool": "p"}]`,
		`, "health": {"path": "/"}, "queue": {}, "retries": {}, "reuse": {}`, ``, `, "admin": {"tls": {"certificate": "a", "key": "b"}, "tokens": [{"name": "a", "env": "A"}]}`),
	ProtocolHTTP: fill(`, "access_log": "stdout", "accept_proxy": {"from": ["::1"]}, "routes": [{"host": "a", "redirect": {"scheme": "https"}},
		{"pool": "p", "path": "/", "request_headers": {}, "response_headers": {}}]`,
		`, "health": {"path": "/"}, "queue": {}, "retries": {}, "reuse": {}`, ``, `, "admin": {"tls": {"certificate": "a", "key": "b"}, "tokens": [{"name": "a", "env": "A"}]}`),
}

// A walker goes through the schema side by side with one of the contexts.
type walker struct {
	root     map[string]any
	protocol string
	members  map[string]map[string]any // by the place of an object: its members and what is said of each
	closed   map[string]bool           // the places of objects with no members but these
}

// walk takes note of what the schema says of the value at a place.
func (w *walker) walk(place string, schema map[string]any, value any) {
	if to, ok := schema["$ref"].(string); ok {
		w.walk(place, w.root["$defs"].(map[string]any)[strings.TrimPrefix(to, "#/$defs/")].(map[string]any), value)
	}
	for _, key := range []string{"allOf", "oneOf"} {
		all, _ := schema[key].([]any)
		for _, one := range all {
			w.walk(place, one.(map[string]any), value)
		}
	}
	if then, ok := schema["then"].(map[string]any); ok && w.holds(schema["if"]) {
		w.walk(place, then, value)
	}
	switch value := value.(type) {
	case []any:
		if items, ok := schema["items"].(map[string]any); ok {
			for i, item := range value {
				w.walk(fmt.Sprintf("%s[%d]", place, i), items, item)
			}
		}
	case map[string]any:
		w.object(place, schema, value)
	}
}

func (w *walker) object(place string, schema, value map[string]any) {
	w.closed[place] = w.closed[place] || schema["additionalProperties"] == false
	properties, _ := schema["properties"].(map[string]any)
	for key, says := range properties {
		if w.members[place] == nil {
			w.members[place] = make(map[string]any)
		}
		if says, ok := says.(map[string]any); ok {
			known, _ := w.members[place][key].(map[string]any)
			w.members[place][key] = merged(known, w.expanded(says))
			if value[key] != nil {
				w.walk(strings.TrimPrefix(place+"."+key, "."), says, value[key])
			}
		}
	}
}

// expanded returns what a schema says, with what it refers to.
func (w *walker) expanded(schema map[string]any) map[string]any {
	if to, ok := schema["$ref"].(string); ok {
		return merged(w.root["$defs"].(map[string]any)[strings.TrimPrefix(to, "#/$defs/")].(map[string]any), schema)
	}
	return schema
}

func merged(a, b map[string]any) map[string]any {
	all := make(map[string]any)
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// holds reports whether a condition is on the protocol, and holds.
func (w *walker) holds(condition any) bool {
	properties, _ := condition.(map[string]any)["properties"].(map[string]any)
	protocol, _ := properties["protocol"].(map[string]any)
	return protocol["const"] == w.protocol
}

// walked returns what the schema says of a context.
func walked(t *testing.T, protocol string) *walker {
	t.Helper()
	w := &walker{protocol: protocol, members: make(map[string]map[string]any), closed: make(map[string]bool)}
	if err := json.Unmarshal([]byte(Schema()), &w.root); err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal([]byte(contexts[protocol]), &value); err != nil {
		t.Fatal(err)
	}
	w.walk("", w.root, value)
	return w
}

// edited returns a context with these members put into the object at a place.
func edited(t *testing.T, protocol, place string, members map[string]any) string {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal([]byte(contexts[protocol]), &root); err != nil {
		t.Fatal(err)
	}
	at := any(root)
	for _, step := range regexp.MustCompile(`[a-z_]+|\d+`).FindAllString(place, -1) {
		if i, err := strconv.Atoi(step); err == nil {
			at = at.([]any)[i]
		} else {
			at = at.(map[string]any)[step]
		}
	}
	maps.Copy(at.(map[string]any), members)
	text, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// words returns every text in the source that may be the name of a member, each
// with no value.
func words(t *testing.T) map[string]any {
	t.Helper()
	all := make(map[string]any)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^\$?[a-z][a-z_]*$`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil && name.MatchString(text) {
					all[text] = nil
				}
			}
			return true
		})
	}
	return all
}

// everywhere is a place with any index.
func everywhere(place string) string { return regexp.MustCompile(`\d+`).ReplaceAllString(place, "") }

// TestSchemaHasEveryMember puts every name there is into every object there is:
// what the schema has there is what the balancer knows there, and nothing else.
func TestSchemaHasEveryMember(t *testing.T) {
	type member struct{ place, name string }
	all := words(t)
	has, known, places := make(map[member]bool), make(map[member]bool), make(map[string]bool)
	for protocol := range contexts {
		w := walked(t, protocol)
		for place, members := range w.members {
			places[everywhere(place)] = true
			if !w.closed[place] {
				t.Errorf("%s: schema.json allows any other member", place)
			}
			for name, says := range members {
				has[member{everywhere(place), name}] = true
				if says := says.(map[string]any); says["description"] == nil && says["enum"] == nil {
					t.Errorf("%s: schema.json does not describe %q", place, name)
				}
			}
			_, err := Parse([]byte(edited(t, protocol, place, all)))
			for name := range all {
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the key %q is not known", name)) {
					known[member{everywhere(place), name}] = true
				}
			}
		}
	}
	for m := range known {
		if !has[m] {
			t.Errorf("%s: config knows %q, schema.json does not", m.place, m.name)
		}
	}
	for m := range has {
		if !known[m] {
			t.Errorf("%s: schema.json has %q, config does not know it", m.place, m.name)
		}
	}
	objects := []string{"", "listeners[]", "listeners[].accept_proxy", "listeners[].routes[]", "listeners[].routes[].redirect",
		"listeners[].routes[].request_headers", "listeners[].routes[].response_headers", "pools[]", "pools[].servers[]",
		"pools[].health", "pools[].queue", "pools[].retries", "pools[].reuse", "admin", "admin.tokens[]", "admin.tls"}
	if got := slices.Sorted(maps.Keys(places)); !slices.Equal(got, slices.Sorted(slices.Values(objects))) {
		t.Errorf("looked at %q, want %q: every object needs one in contexts", got, objects)
	}
}

// TestSchemaHasTheDefaults: to write out a default changes nothing.
func TestSchemaHasTheDefaults(t *testing.T) {
	fits := make(map[string]bool) // in at least one of the places
	for protocol, context := range contexts {
		standard := mustParse(t, context)
		for place, members := range walked(t, protocol).members {
			for member, says := range members {
				value, ok := says.(map[string]any)["default"]
				if !ok {
					continue
				}
				where := protocol + ": " + everywhere(place) + "." + member
				got, err := Parse([]byte(edited(t, protocol, place, map[string]any{member: value})))
				fits[where] = fits[where] || err == nil
				if err == nil && !reflect.DeepEqual(got, standard) {
					t.Errorf("%s: %v is not the default", where, value)
				}
			}
		}
	}
	for where, fit := range fits {
		if !fit {
			t.Errorf("%s: the default is refused", where)
		}
	}
	if len(fits) < 50 {
		t.Errorf("found %d defaults", len(fits))
	}
}

// TestSchemaRefuses: of the files that are JSON and refused, the schema refuses
// most; not those where one part of a file is wrong because of another.
func TestSchemaRefuses(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid-*.json")
	if err != nil {
		t.Fatal(err)
	}
	var passed []string
	total := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, refused := buildTree(data); refused != nil {
			continue
		}
		total++
		if bySchema(t, string(data)) == nil {
			passed = append(passed, file)
		}
	}
	if 5*len(passed) > total {
		t.Errorf("of %d files it accepts %d: %q", total, len(passed), passed)
	}
}
