package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// An Action is what a ServerChange does.
type Action string

// What can be done with a server; Drain and Undrain also with all of a pool.
const (
	Upload  Action = "upload"  // it is in its pool, with what is not said at its default
	Patch   Action = "patch"   // what is said of it changes
	Delete  Action = "delete"  // it drains, and then is gone
	Drain   Action = "drain"   // it gets no new work and stays, until Undrain or Upload
	Undrain Action = "undrain" // it gets work again
)

// A ServerChange says what to change of a server, or of all servers of a pool.
type ServerChange struct {
	Action         Action
	Pool           string // as the operator wrote it; "": not said
	Server         string // as the operator wrote it; "" with Drain or Undrain: all that the pool has now
	Weight         *int   // of Upload and Patch, 1 to 256; nil: not said
	MaxConnections *int   // of Upload and Patch, 0 (no limit) to 1000000; nil: not said
	Force          bool   // of Delete: what is in flight is closed now
	If             Condition
	DryRun         bool // only say what would change
}

// Changed says what came of a ServerChange, or would.
type Changed struct {
	Pool    string
	Server  string // in its one form; "": it was the pool's servers
	Created bool
	Changes []string // in words; none: it was so already
	ETag    string   // of the server or pool as it is now; "": there is none, or it is going
}

// ETag returns the entity tag of how the server is configured: other than Server it
// does not change by itself. It is strong by RFC 9110 section 8.8.3.
func (s *Server) ETag() string {
	hash := sha256.New()
	s.configuration(hash)
	return etag(hash.Sum(nil))
}

// ETag returns the entity tag of how the servers of the pool are configured. Those
// that are being deleted are left out, for they go by themselves.
func (p *Pool) ETag() string {
	hash := sha256.New()
	for i := range p.Servers {
		if s := &p.Servers[i]; !s.Deleting {
			s.configuration(hash)
		}
	}
	return etag(hash.Sum(nil))
}

func (s *Server) configuration(w io.Writer) {
	fmt.Fprintf(w, "%q %q %d %d %t %t\n", s.Address, s.Source, s.Weight, s.MaxConnections, s.Draining, s.Deleting)
}

// ETagOf returns the entity tag of a resource with this content.
func ETagOf(content []byte) string {
	sum := sha256.Sum256(content)
	return etag(sum[:])
}

func etag(sum []byte) string { return `"` + hex.EncodeToString(sum[:12]) + `"` }
