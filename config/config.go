// Package config says what a config.json may say: its types, their defaults,
// and loading that refuses everything it does not understand.
//
// Load reads a file, Parse the bytes of one. A Config put together by other
// means, such as command line flags, goes through Complete, which fills in the
// defaults and validates by the same rules. A zero value in a Config means the
// default that is named at the field; a zero written out in a file is taken at
// its word and refused where zero is not allowed.
//
// All that is wrong is reported in one error, a line for each problem in the
// order of the file:
//
//	config.json:4:18: pools[0].servers[1].weight: 0 is not allowed; use a whole number from 1 to 256
//
// Lines and columns count from 1, columns in characters. Only when the text is
// no JSON at all does the report end with the first problem.
//
// A Config is data: once loaded nobody writes to it, and everything that runs
// is built from it. Package config opens no socket and resolves no name.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// The protocols of a listener.
const (
	ProtocolTCP  = "tcp"
	ProtocolHTTP = "http"
)

// The algorithms of a pool.
const (
	AlgorithmLeastConnections = "least_connections"
	AlgorithmRoundRobin       = "round_robin"
)

// What is used where a Config says nothing.
const (
	DefaultAlgorithm       = AlgorithmLeastConnections
	DefaultWeight          = 1
	DefaultConnectTimeout  = 5 * time.Second
	DefaultResponseTimeout = 60 * time.Second
	DefaultDrainTimeout    = 30 * time.Second
	DefaultIdleTimeoutTCP  = time.Hour
	DefaultIdleTimeoutHTTP = 60 * time.Second
	DefaultHeaderTimeout   = 30 * time.Second
	DefaultShutdownTimeout = 30 * time.Second
	DefaultHealthInterval  = 5 * time.Second
	DefaultHealthTimeout   = 2 * time.Second // or the interval, if that is shorter
	DefaultRise            = 2
	DefaultFall            = 3
	DefaultAdminAddress    = "127.0.0.1:9900"
)

// maxFile is how many bytes a file may have.
const maxFile = 8 << 20

// Protocols returns the protocols that a listener may have.
func Protocols() []string { return []string{ProtocolTCP, ProtocolHTTP} }

// Algorithms returns the algorithms that a pool may have.
func Algorithms() []string { return []string{AlgorithmLeastConnections, AlgorithmRoundRobin} }

// A Config is everything that the balancer is told. Every duration in it is
// from 1ms to 720h, every name 1 to 64 of the characters A-Z a-z 0-9 _ . -
type Config struct {
	Listeners       []Listener    // 1 to 1000
	Pools           []Pool        // at most 1000; one that no listener feeds is allowed
	Admin           *Admin        // nil: no admin listener
	ShutdownTimeout time.Duration // how long work in flight may go on when stopping; 0 means DefaultShutdownTimeout
}

// A Listener is an address that clients connect to, feeding a pool.
type Listener struct {
	Name          string        // required, unique among the listeners
	Protocol      string        // required, one of Protocols
	Address       string        // required, "host:port" or ":port" with an IP address or localhost; port 0: the system picks a free one
	Pool          string        // required, the name of one of the pools
	IdleTimeout   time.Duration // tcp: no byte either way; http: between requests. 0 means DefaultIdleTimeoutTCP or DefaultIdleTimeoutHTTP
	HeaderTimeout time.Duration // http only: until a request's head is complete; 0 means DefaultHeaderTimeout. Always 0 on tcp
}

// A Pool is a named set of servers that can serve the same traffic.
type Pool struct {
	Name            string        // required, unique among the pools
	Algorithm       string        // one of Algorithms; "" means DefaultAlgorithm
	Servers         []Server      // at most 10000; none is allowed, they can be uploaded later
	Health          *Health       // nil means a TCP connect at the defaults of Health
	ConnectTimeout  time.Duration // until a server has accepted; 0 means DefaultConnectTimeout
	ResponseTimeout time.Duration // http: until the head of the answer; 0 means DefaultResponseTimeout
	DrainTimeout    time.Duration // how long work in flight may go on at a server that was deleted; 0 means DefaultDrainTimeout
}

// A Server is one address in a pool.
type Server struct {
	Address        string // required, unique in the pool, all that ParseServer takes; host:port once completed
	Weight         int    // its share relative to the others, 1 to 256; 0 means DefaultWeight
	MaxConnections int    // no more active than this, up to 1000000; 0 means no limit
}

// Health says how the servers of a pool are checked.
type Health struct {
	Off      bool          // no checks, servers count as healthy; the other fields mean nothing then
	Interval time.Duration // from the start of one check to that of the next; 0 means DefaultHealthInterval
	Timeout  time.Duration // at most Interval; 0 means DefaultHealthTimeout, or Interval if that is shorter
	Rise     int           // passes in a row until healthy, 1 to 100; 0 means DefaultRise
	Fall     int           // failures in a row until not healthy, 1 to 100; 0 means DefaultFall
	Path     string        // what an HTTP check asks for; "": the check is a TCP connect
	Status   []StatusRange // the answers that pass, at most 32; only with Path; none means 200-399
}

// A StatusRange is the HTTP status codes from From to To, both included, each
// from 100 to 599.
type StatusRange struct{ From, To int }

// String returns the range as it is written in a file: "200-399", "301".
func (r StatusRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// Admin is the separate listener for the operator.
type Admin struct {
	Address string // as a listener's; "" means DefaultAdminAddress
}

// Load reads, parses and completes the file at path, of at most 8 MiB. Each
// problem in the error begins with the path. An error of the file system can
// be told by errors.Is.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return parse(path, data)
}

// Parse does what Load does with what would be the content of a file.
func Parse(data []byte) (*Config, error) {
	if len(data) > maxFile {
		return nil, errTooLarge
	}
	return parse("", data)
}

// Complete fills in the defaults, brings addresses into their one form, and
// validates. After an error some of it may be done and the Config is not to be
// used. Completing again changes nothing.
func (c *Config) Complete() error {
	var p problems
	p.complete(c, &place{})
	return p.errorOrNil()
}

var errTooLarge = fmt.Errorf("larger than the %d bytes that are allowed", maxFile)

func parse(file string, data []byte) (*Config, error) {
	p := problems{file: file, data: data}
	root, err := buildTree(data)
	if err != nil {
		p.addAt(err.at, nil, "%s", err.text)
		return nil, p.errorOrNil()
	}
	at := &place{node: root}
	c := p.decode(at)
	p.complete(c, at)
	if err := p.errorOrNil(); err != nil {
		return nil, err
	}
	return c, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(data) > maxFile {
		return nil, errTooLarge
	}
	return data, nil
}

// withoutPath takes the path out of an error, for a message that names it.
func withoutPath(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("cannot %s the file: %w", at.Op, at.Err)
	}
	return err
}
