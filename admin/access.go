package admin

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// AccessOptions say who may use an admin listener, and how. The zero value asks
// nobody who they are.
type AccessOptions struct {
	Tokens []TokenSource // who is asked for a token has one of these; none: nobody is asked

	// The paths of PEM files: the listener's certificate and its key, without which
	// it speaks plain HTTP, and the authorities of the certificates that all
	// clients need then; "": they need none.
	Certificate, Key, ClientCA string

	Hosts []string // lower-case names by which the listener is asked, besides localhost, IP addresses and those of Certificate
}

// A TokenSource says whose a token is and where its secret is found.
type TokenSource struct {
	Name      string // for the log
	ReadOnly  bool   // it changes nothing
	File, Env string // the path of a file or the name of an environment variable, one of them
}

// An Access is who may use an admin listener. It is immutable, and of the secrets
// of tokens it holds nothing but digests.
type Access struct {
	tokens []token
	hosts  []string
	tls    *tls.Config       // nil: plain HTTP
	leaf   *x509.Certificate // of tls
}

type token struct {
	name     string
	readOnly bool
	digest   [sha256.Size]byte
}

// NewAccess reads the tokens and certificates. The error names every problem, as
// a *multierror.Error, and repeats no secret.
func NewAccess(o AccessOptions) (*Access, error) {
	a := &Access{hosts: o.Hosts}
	var problems *multierror.Error
	for _, source := range o.Tokens {
		if err := a.add(source); err != nil {
			problems = multierror.Append(problems, fmt.Errorf("admin: token %q: %w", source.Name, err))
		}
	}
	if o.Certificate != "" {
		if err := a.loadTLS(o); err != nil {
			problems = multierror.Append(problems, err)
		}
	}
	return a, problems.ErrorOrNil()
}

// add reads a token's secret, which no other token may have.
func (a *Access) add(source TokenSource) error {
	secret, err := source.read()
	if err != nil {
		return err
	}
	if other := a.find(secret); other != nil {
		return fmt.Errorf("it is the same as token %q; use another one", other.name)
	}
	a.tokens = append(a.tokens, token{source.Name, source.ReadOnly, sha256.Sum256([]byte(secret))})
	return nil
}

func (s TokenSource) read() (string, error) {
	if s.File != "" {
		return ReadSecret(s.File)
	}
	text, ok := os.LookupEnv(s.Env)
	if !ok {
		return "", fmt.Errorf("environment variable %s is not set", s.Env)
	}
	secret, err := CleanSecret(text)
	if err != nil {
		return "", fmt.Errorf("environment variable %s: %w", s.Env, err)
	}
	return secret, nil
}

func (a *Access) loadTLS(o AccessOptions) error {
	var problems *multierror.Error
	pair, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
	if err != nil {
		problems = multierror.Append(problems, fmt.Errorf("admin: tls: certificate %q with key %q: %w", o.Certificate, o.Key, err))
	}
	a.leaf = pair.Leaf
	// One connection is one request at a time, which is what its limits count.
	a.tls = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	if o.ClientCA != "" {
		a.tls.ClientAuth = tls.RequireAndVerifyClientCert
		if a.tls.ClientCAs, err = ReadCertificates(o.ClientCA); err != nil {
			problems = multierror.Append(problems, fmt.Errorf("admin: tls: client_ca: %w", err))
		}
	}
	return problems.ErrorOrNil()
}

// ReadCertificates returns the certificates in a PEM file, of which there has to
// be one.
func ReadCertificates(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	return pool, nil
}

// clientCAs returns the authorities of clients' certificates, nil if they need
// none.
func (a *Access) clientCAs() *x509.CertPool {
	if a.tls == nil {
		return nil
	}
	return a.tls.ClientCAs
}

// find returns the token with that secret, nil if there is none. How long it
// takes tells nothing but how long the secret is that it was given.
func (a *Access) find(secret string) (found *token) {
	digest := sha256.Sum256([]byte(secret))
	for i := range a.tokens {
		if subtle.ConstantTimeCompare(digest[:], a.tokens[i].digest[:]) == 1 {
			found = &a.tokens[i]
		}
	}
	return found
}

// covers reports whether a connection that was made under another Access has
// shown what this one asks of connections.
func (a *Access) covers(other *Access) bool {
	switch cas := a.clientCAs(); {
	case a == other || a.tls == nil:
		return true
	case cas == nil:
		return other.tls != nil
	default:
		return other.clientCAs() != nil && cas.Equal(other.clientCAs())
	}
}

// same reports whether another Access lets in the same, by the same certificate.
func (a *Access) same(other *Access) bool {
	if !slices.Equal(a.tokens, other.tokens) || !slices.Equal(a.hosts, other.hosts) || (a.tls == nil) != (other.tls == nil) {
		return false
	}
	return a.tls == nil || a.clientCAs().Equal(other.clientCAs()) &&
		slices.EqualFunc(a.tls.Certificates[0].Certificate, other.tls.Certificates[0].Certificate, bytes.Equal)
}

// knows reports whether a request's Host is a name of the listener. A page of
// another site that has its own name lead here does not know one of those. A
// client without a Host is no browser: RFC 9112 section 3.2.
func (a *Access) knows(host string) bool {
	name := strings.Trim(host, "[]")
	if alone, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		name = alone
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	_, err := netip.ParseAddr(name)
	return err == nil || name == "" || name == "localhost" || slices.Contains(a.hosts, name) ||
		a.leaf != nil && a.leaf.VerifyHostname(name) == nil
}

// exposes reports whether tokens go to an address through a network that others
// may read.
func (a *Access) exposes(address net.Addr) bool {
	return len(a.tokens) > 0 && a.tls == nil && !local(address)
}

// local reports whether nobody but this machine can connect to an address.
func local(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// guards reports as an error that strangers could use a listener at an address.
func (a *Access) guards(address net.Addr) error {
	if local(address) || len(a.tokens) > 0 || a.clientCAs() != nil {
		return nil
	}
	return fmt.Errorf("admin: address %s: others can reach it, and nobody would be asked who they are; it needs tokens or the authorities of clients' certificates", address)
}

// subject names whom a certificate is for.
func subject(c *x509.Certificate) string {
	return cmp.Or(c.Subject.CommonName, strings.Join(c.DNSNames, ","), fmt.Sprintf("serial %x", c.SerialNumber))
}
