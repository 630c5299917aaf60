package supervisor

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"fulcrum/config"
	"fulcrum/porttest"
)

// schemas compiles parts of a JSON text that are schemas.
func schemas(t *testing.T, text string) *jsonschema.Compiler {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("text", value); err != nil {
		t.Fatal(err)
	}
	return c
}

// What the admin listener answers of a balancer that has traffic is as it describes
// itself, and the config that it shows is as its schema says.
func TestAnswersAreAsDescribed(t *testing.T) {
	a, b := echo(t, "a"), startWeb(t, "b").address
	w := start(t, twoPools, a, porttest.Closed(t), b, porttest.Closed(t))
	w.ready(a, b)
	dial(t, w.address("echo")).say("hello")
	if status, _, err := get(t, w.address("web"), "/"); status != 200 {
		t.Fatalf("status %d, error %v", status, err)
	}
	_, _, text := w.ask("GET", "/openapi.json", "")
	api := schemas(t, text)
	want := func(schemas *jsonschema.Compiler, place, method, path string) {
		t.Helper()
		status, _, text := w.ask(method, path, "")
		value, err := jsonschema.UnmarshalJSON(bytes.NewBufferString(text))
		if err != nil {
			t.Fatalf("%s: status %d, %v: %s", path, status, err, text)
		}
		if err := schemas.MustCompile("text" + place).Validate(value); err != nil {
			t.Errorf("%s %s: status %d, %v: %s", method, path, status, err, text)
		}
	}
	const of = "#/components/schemas/"
	web, at := "/v1/pools/web", "/v1/pools/web/servers/"+b
	for path, schema := range map[string]string{
		"/servers": "ServersAnswer", "/listeners": "ListenersAnswer", "/v1/pools": "ServersAnswer", web: "Pool", web + "/servers": "ServersOfPool",
		at: "Server", "/v1/listeners": "ListenersAnswer", "/v1/listeners/echo": "Listener", "/v1/status": "Status", "/v1/config": "Config", "/healthz": "HealthAnswer",
		web + "/servers/none": "ErrorAnswer", "/v1/pools/none": "ErrorAnswer", web + "/drain": "ErrorAnswer",
	} {
		want(api, of+schema, "GET", path)
	}
	want(schemas(t, config.Schema()), "", "GET", "/v1/config")
	want(api, of+"ChangeAnswer", "POST", web+"/drain?dry_run=true")
	want(api, of+"ChangeAnswer", "PUT", at)
	want(api, of+"ErrorAnswer", "POST", "/reload")
	want(api, of+"ErrorAnswer", "DELETE", web+"/servers/none")
	want(api, of+"ChangeAnswer", "DELETE", at)
	want(api, of+"DeleteAnswer", "DELETE", "/delete_server?pool=echo&server="+a)
}
