package admin

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"fulcrum/events"
)

// description is openapi.json, as far as these tests read it.
type description struct {
	Paths      map[string]map[string]operation
	Components struct {
		Schemas    map[string]schema
		Parameters map[string]parameter
		Responses  map[string]described
	}
	compiler *jsonschema.Compiler
}

type operation struct {
	OperationID string
	Parameters  []struct {
		Ref string `json:"$ref"`
	}
	RequestBody *struct {
		Required bool
		Content  map[string]struct{ Schema schema }
	}
	Responses map[string]described
}

type parameter struct {
	Name, In string
	Required bool
}

type described struct {
	Ref     string `json:"$ref"`
	Headers map[string]any
	Content map[string]struct{ Schema schema }
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 string
	Required             []string
	Properties           map[string]schema
	AdditionalProperties any
	Items                *schema
	OneOf                []schema
}

// last is what a reference leads to.
func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func readDescription(t *testing.T) *description {
	t.Helper()
	d := &description{compiler: jsonschema.NewCompiler()}
	if err := json.Unmarshal(openAPI, d); err != nil {
		t.Fatal(err)
	}
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		t.Fatal(err)
	}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi", text); err != nil {
		t.Fatal(err)
	}
	return d
}

// valid holds a JSON text against one of the components.
func (d *description) valid(s schema, text string) error {
	if s.Ref == "" {
		return nil
	}
	compiled, err := d.compiler.Compile("openapi" + s.Ref)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}

// parameters returns the names of an operation's parameters of a kind.
func (d *description) parameters(o operation, in string) (names []string) {
	for _, p := range o.Parameters {
		if p := d.Components.Parameters[last(p.Ref)]; p.In == in {
			names = append(names, p.Name)
		}
	}
	return names
}

// Whatever the handler answers to is described, with the parameters that it takes, and
// nothing else is.
func TestEveryRouteIsDescribed(t *testing.T) {
	w, d := start(t), readDescription(t)
	routes := make(map[string]bool)
	operations := make(map[string]bool)
	for _, route := range (&handler{}).all() {
		of := route.method + " " + route.path
		routes[of] = true
		o, known := d.Paths[route.path][strings.ToLower(route.method)]
		if !known {
			t.Errorf("%s is not described", of)
			continue
		}
		if operations[o.OperationID] || o.OperationID == "" {
			t.Errorf("%s: operationId %q is missing or another's", of, o.OperationID)
		}
		operations[o.OperationID] = true
		var named []string
		for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(route.path, -1) {
			named = append(named, name[1])
		}
		if got := d.parameters(o, "path"); !slices.Equal(got, named) {
			t.Errorf("%s: the parameters of the path are described as %q", of, got)
		}
		if reads(route.method) {
			continue
		}
		_, text := w.do(route.method, pathOf(route.path)+"?nothing=1", nil)
		_, takes, _ := strings.Cut(text, "the parameters are ")
		takes, _, _ = strings.Cut(takes, `"`)
		if got := d.parameters(o, "query"); list(got) != takes {
			t.Errorf("%s: takes the parameters %q, described are %q", of, takes, got)
		}
		_, text = w.do(route.method, pathOf(route.path), strings.NewReader(route.valids()[0]), "If-Match", "unquoted")
		takes = ""
		if strings.Contains(text, "If-Match is") {
			takes = "If-Match, If-None-Match"
		}
		if got := list(d.parameters(o, "header")); got != takes {
			t.Errorf("%s: takes the headers %q, described are %q", of, takes, got)
		}
	}
	for path, operations := range d.Paths {
		for method := range operations {
			if of := strings.ToUpper(method) + " " + path; !routes[of] {
				t.Errorf("%s is described, and does not exist", of)
			}
		}
	}
}

// pathOf returns a path that a route is for.
func pathOf(route string) string {
	return strings.NewReplacer("{pool}", "web", "{server}", "a:1", "{name}", "web", "{profile}", "heap").Replace(route)
}

// What is described of an answer is what its type says.
func TestDescribedTypes(t *testing.T) {
	d := readDescription(t)
	known := map[string]any{
		"ServersAnswer": ServersAnswer{}, "ServersOfPool": ServersOfPool{}, "Pool": Pool{}, "Server": Server{}, "Check": Check{},
		"ListenersAnswer": ListenersAnswer{}, "Listener": ListenerInfo{}, "Route": Route{}, "Redirect": Redirect{}, "Traffic": Traffic{},
		"HTTPTraffic": HTTPTraffic{}, "Connections": Connections{}, "Durations": Durations{}, "ChangeAnswer": ChangeAnswer{},
		"UploadAnswer": UploadAnswer{}, "DeleteAnswer": DeleteAnswer{}, "ReloadAnswer": ReloadAnswer{}, "Status": Status{},
		"DrainAnswer": DrainAnswer{}, "UpgradeAnswer": UpgradeAnswer{}, "Remaining": Remaining{}, "EventsAnswer": EventsAnswer{}, "Event": events.Event{},
		"Explanation": Explanation{}, "ExplainedServer": ExplainedServer{}, "ExplainedQueue": ExplainedQueue{}, "ExplainedRetries": ExplainedRetries{},
		"LogLevelAnswer": LogLevelAnswer{}, "HealthAnswer": HealthAnswer{}, "ErrorAnswer": ErrorAnswer{},
		"Live": Live{}, "LiveBalancer": LiveBalancer{}, "LiveListener": LiveListener{}, "LivePool": LivePool{}, "LiveName": LiveName{},
		"LiveServer": LiveServer{}, "History": History{},
	}
	bodies := map[string][]string{"Settings": patchFields, "UploadRequest": uploadFields, "DeleteRequest": deleteFields, "LogLevel": logLevelFields}
	for name, s := range d.Components.Schemas {
		switch fields := bodies[name]; {
		case fields != nil:
			for _, field := range fields {
				if _, there := s.Properties[field]; !there {
					t.Errorf("%s: %s is not described", name, field)
				}
			}
			if len(s.Properties) != len(fields) || s.AdditionalProperties != false {
				t.Errorf("%s: more is described than %s", name, fields)
			}
		case known[name] != nil:
			wantStruct(t, name, s, reflect.TypeOf(known[name]))
			delete(known, name)
		case name != "Config": // which has a schema of its own
			t.Errorf("%s is described, and nothing has that type", name)
		}
	}
	for name := range known {
		t.Errorf("%s is not described", name)
	}
}

func wantStruct(t *testing.T, name string, s schema, of reflect.Type) {
	var members, required []string
	for _, field := range reflect.VisibleFields(of) {
		if field.Anonymous {
			continue
		}
		member, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		members = append(members, member)
		if options == "" {
			required = append(required, member)
		}
		property, there := s.Properties[member]
		if !there {
			t.Errorf("%s: %s is not described", name, member)
			continue
		}
		if got, want := property.kind(), kindOf(field.Type); got != want {
			t.Errorf("%s: %s is described as %s, and is %s", name, member, got, want)
		}
	}
	if len(s.Properties) != len(members) || !slices.Equal(s.Required, required) {
		t.Errorf("%s: required are %q, described %q, of %d members %d", name, required, s.Required, len(members), len(s.Properties))
	}
}

// kind says in a word what a schema allows.
func (s schema) kind() string {
	switch {
	case s.Ref != "":
		return last(s.Ref)
	case len(s.OneOf) > 0:
		return s.OneOf[0].kind()
	case s.Type == "array":
		return "array of " + s.Items.kind()
	}
	return s.Type
}

// kindOf returns the kind of what a type is in JSON.
func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "string"
	case t.Kind() == reflect.Pointer:
		return kindOf(t.Elem())
	case t.Kind() == reflect.Slice:
		return "array of " + kindOf(t.Elem())
	case t.Kind() == reflect.Map:
		return "object"
	case t.Kind() == reflect.Struct:
		return strings.TrimSuffix(t.Name(), "Info")
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Float64, t.Kind() == reflect.Float32:
		return "number"
	case t.Kind() == reflect.String:
		return "string"
	}
	return "integer"
}
