package state

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// encode returns what a file says that parse makes the State of: always the same
// for the same records.
func (s *State) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n  \"version\": %d,\n  \"servers\": [", version)
	for i, k := range s.keys() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		s.records[k].encode(&b, k)
	}
	if len(s.records) > 0 {
		b.WriteString("\n  ")
	}
	b.WriteString("]\n}\n")
	return b.Bytes()
}

func (r record) encode(b *bytes.Buffer, k key) {
	source := Configured
	if r.uploaded {
		source = Uploaded
	}
	fmt.Fprintf(b, `{"pool": %s, "server": %s, "source": %q`, quote(k.pool), quote(k.server), source)
	if r.weight != unset {
		fmt.Fprintf(b, `, "weight": %d`, r.weight)
	}
	if r.maxConnections != unset {
		fmt.Fprintf(b, `, "max_connections": %d`, r.maxConnections)
	}
	if r.deleted {
		b.WriteString(`, "deleted": true`)
	}
	if r.draining {
		b.WriteString(`, "draining": true`)
	}
	b.WriteByte('}')
}

// quote returns a JSON string. Marshal has no error for one.
func quote(s string) []byte {
	text, _ := json.Marshal(s)
	return text
}
