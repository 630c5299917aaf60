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
	"path/filepath"
	"strings"
	"time"
)

// maxFile is how many bytes a file may have.
const maxFile = 8 << 20

// A Config is everything that the balancer is told. Every duration in it is
// from 1ms to 720h where the field says no other, every name 1 to 64 of the characters A-Z a-z 0-9 _ . -
type Config struct {
	Listeners       []Listener    // 1 to 1000
	Pools           []Pool        // at most 1000; one that no listener feeds is allowed
	Admin           *Admin        // nil: no admin listener
	ShutdownTimeout time.Duration // how long work in flight may go on when stopping; 0 means DefaultShutdownTimeout
	IO              string        // how the event loops wait, one of IOs; "" means DefaultIO
	File            string        // the path that Load was given; "": it is not from a file
	State           string        // the path of the state file, by Load DefaultState beside the file where that says nothing; "": none
}

// Admin is the separate listener for the operator.
type Admin struct {
	Address string    // as a listener's; "" means DefaultAdminAddress. Others than loopback and "unix:" need Tokens or a client CA
	Tokens  []Token   // at most 100: who may ask; none: nobody is asked for one
	TLS     *AdminTLS // nil: plain HTTP. Not with "unix:"
	Hosts   []string  // at most 100, in lower case once completed: by which names it is asked besides localhost and IP addresses
}

// A Token is who may use the admin listener, and where the secret is found that
// shows it. The secret itself is nowhere in a Config.
type Token struct {
	Name   string // required, unique among the tokens
	Access string // one of Accesses; "" means DefaultAccess
	File   string // the path of a file that holds the secret; either this or Env is required
	Env    string // the name of the environment variable that holds it
}

// AdminTLS is the paths of PEM files.
type AdminTLS struct {
	Certificate string // required: the listener's, with what leads to its authority
	Key         string // required: the certificate's
	ClientCA    string // the authorities of clients' certificates, which all need; "": none do
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
	c.File = file
	if file != "" && !at.member("state").given() {
		c.State = stateBeside(file)
	}
	return c, nil
}

// stateBeside returns where the state file is if nobody says so: where systemd has
// made a directory for it, or beside the config. A pipe has none beside it.
func stateBeside(file string) string {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return filepath.Join(dir, DefaultState)
	}
	if at, err := os.Stat(file); err != nil || !at.Mode().IsRegular() {
		return ""
	}
	return filepath.Join(filepath.Dir(file), DefaultState)
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
