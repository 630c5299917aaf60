package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

// What decode accepts, encoding/json accepts with the same meaning; what it
// refuses, it refuses in a few words and as the client's fault.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"pool":"web","server":"http://127.0.0.1:9003","weight":1,"max_connections":0,"force":true}`,
		`{"server":"a:1"}{"server":"b:1"}`, `{"server":"a:1","server":"b:1"}`, `{"server":"\ud800"}`,
		`{"weight":-0}`, `{"weight":1e2}`, `{"":null}`, `[[[`, `null`, `"`, "\xff", ` {"a":{}}`, ``, ` `, ` [ `, `{"server":[{},{"a":1}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		said, err := decode(body, deleteFields)
		if err != nil {
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || refusal.Status != 400 || len(refusal.Reason) > 600 {
				t.Fatalf("%q is refused with %#v", body, err)
			}
			return
		}
		var plain struct {
			Pool, Server   string
			Weight         int
			MaxConnections int `json:"max_connections"`
			Force          bool
		}
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&plain); err != nil {
			t.Fatalf("%q is accepted but %v", body, err)
		}
		if or(said.pool, "") != plain.Pool || or(said.server, "") != plain.Server || or(said.weight, 0) != plain.Weight ||
			or(said.maxConnections, 0) != plain.MaxConnections || or(said.force, false) != plain.Force {
			t.Fatalf("%q is read as %+v", body, plain)
		}
		if w := said.weight; w != nil && (*w < 1 || *w > maxWeight) {
			t.Fatalf("%q has weight %d", body, *w)
		}
	})
}
