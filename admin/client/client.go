// Package client speaks to the admin listener of a running balancer: it lists
// listeners and servers, changes servers, and has the config reloaded and the balancer
// drained.
//
// A Client holds no connection between calls and needs no closing. Each call ends
// within ten seconds, but for Follow and Live, which go on with what happens, and
// when its context does. What goes wrong is one of two kinds: an *Error is what the
// admin listener itself answered, with the HTTP status; any other error means that no
// such answer came. No error repeats the token.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fulcrum/admin"
)

const (
	timeout        = 10 * time.Second
	upgradeTimeout = 40 * time.Second // of the one call that waits for another process
	maxAnswer      = 32 << 20
)

// An Error is a refusal or failure that the admin listener answered with.
type Error struct {
	Status  int    // the HTTP status; 4xx: the request was refused and changed nothing
	Message string // the listener's own words
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s (%d %s)", e.Message, e.Status, http.StatusText(e.Status))
}

// Final reports whether the same request would be refused again. One that comes too
// often, or after too many wrong tokens of others at the same address, need not be.
func (e *Error) Final() bool { return e.Status/100 == 4 && e.Status != http.StatusTooManyRequests }

// A Client speaks to one admin listener. It may be used from many goroutines.
type Client struct {
	address string // for messages
	base    url.URL
	token   string
	http    *http.Client
}

// Options are what New needs.
type Options struct {
	Address string // host:port, http://host:port, https://host:port or unix:/absolute/path; without a host it is this machine's loopback address
	Token   string // "": none is sent

	// The paths of PEM files, for https:// only.
	CA               string // of the authorities that the listener's certificate may be from; "": the system's
	Certificate, Key string // the client's own, both or none
}

const (
	unixPrefix = "unix:"
	allowed    = "use host:port, https://host:port or unix:/absolute/path"
)

// New returns a client for an admin listener.
func New(o Options) (*Client, error) {
	// No proxy from the environment: an admin listener is reached directly.
	transport := &http.Transport{DisableKeepAlives: true}
	c := &Client{address: o.Address, base: url.URL{Scheme: "http", Host: "localhost"}, token: o.Token}
	path, unix := strings.CutPrefix(o.Address, unixPrefix)
	switch {
	case unix && strings.HasPrefix(path, "/"):
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	case unix && strings.Contains(path, "/"):
		return nil, fmt.Errorf("admin address %q has no absolute path; %s", o.Address, allowed)
	default:
		if err := c.locate(o.Address); err != nil {
			return nil, err
		}
	}
	if c.base.Scheme == "https" {
		var err error
		if transport.TLSClientConfig, err = o.tls(); err != nil {
			return nil, err
		}
	} else if o.CA != "" || o.Certificate != "" || o.Key != "" {
		return nil, fmt.Errorf("admin address %q is not https, so there are no certificates; use https://host:port", o.Address)
	}
	c.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       timeout,
	}
	return c, nil
}

// locate takes the address of a TCP listener apart.
func (c *Client) locate(address string) error {
	rest, found := strings.CutPrefix(address, "https://")
	if found {
		c.base.Scheme = "https"
	} else if rest, found = strings.CutPrefix(address, "http://"); !found && strings.Contains(address, "://") {
		return fmt.Errorf("admin address %q is neither http nor https; %s", address, allowed)
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
	if err != nil {
		return fmt.Errorf("admin address %q is not valid: %w; %s", address, err, allowed)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("admin address %q has port %q; it must be a number from 1 to 65535", address, port)
	}
	if strings.ContainsAny(host, "/?#@ ") {
		return fmt.Errorf("admin address %q is not a bare address; %s", address, allowed)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	c.base.Host = net.JoinHostPort(host, port)
	c.address = c.base.Host
	return nil
}

// tls reads the certificates.
func (o *Options) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if o.CA != "" {
		if config.RootCAs, err = admin.ReadCertificates(o.CA); err != nil {
			return nil, fmt.Errorf("read the authorities of the admin listener: %w", err)
		}
	}
	if o.Certificate != "" || o.Key != "" {
		own, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate %q with the key %q: %w", o.Certificate, o.Key, err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}

// A request is what is asked of the admin listener.
type request struct {
	method, path string // the path is escaped
	query        url.Values
	body         []byte // JSON; nil: none
	ifMatch      string // "": not sent
}

// call sends one request and decodes a 2xx answer, whose ETag it returns, into answer.
func (c *Client) call(ctx context.Context, r request, answer any) (etag string, err error) {
	request, err := c.compose(ctx, r)
	if err != nil {
		return "", err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return "", c.unreached(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return "", c.unreached(err)
	}
	if len(text) > maxAnswer {
		return "", fmt.Errorf("the answer of %s is larger than %d bytes", c.address, maxAnswer)
	}
	if response.StatusCode/100 != 2 {
		return "", c.refused(response.StatusCode, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return "", fmt.Errorf("%s does not answer like an admin listener: %w", c.address, err)
	}
	return response.Header.Get("ETag"), nil
}

func (c *Client) compose(ctx context.Context, r request) (*http.Request, error) {
	target := c.base
	var err error
	target.RawPath, target.RawQuery = r.path, r.query.Encode()
	if target.Path, err = url.PathUnescape(r.path); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, r.method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("admin address %q is not valid: %w", c.address, err)
	}
	if r.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if r.ifMatch != "" {
		request.Header.Set("If-Match", r.ifMatch)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	return request, nil
}

// unreached says in words why there was no answer.
func (c *Client) unreached(err error) error {
	if asURL, ok := errors.AsType[*url.Error](err); ok {
		err = asURL.Err // without the method and URL, which the caller did not choose
	}
	var timedOut net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("no admin listener answers at %s: %w", c.address, err)
	case errors.As(err, &timedOut) && timedOut.Timeout():
		return fmt.Errorf("the admin listener at %s did not answer in time: %w", c.address, err)
	}
	return fmt.Errorf("no answer from the admin listener at %s: %w", c.address, err)
}

// notEncrypted is what net/http answers to who does not speak TLS.
const notEncrypted = "Client sent an HTTP request to an HTTPS server.\n"

// refused turns a status other than 2xx into an *Error when the body is an
// admin listener's.
func (c *Client) refused(status int, text []byte) error {
	if status == http.StatusBadRequest && string(text) == notEncrypted {
		return fmt.Errorf("the admin listener at %s speaks TLS; use https://%s", c.address, c.address)
	}
	var body admin.ErrorAnswer
	if json.Unmarshal(text, &body) != nil || body.Error == "" {
		return fmt.Errorf("%s does not answer like an admin listener: status %d", c.address, status)
	}
	return &Error{Status: status, Message: body.Error}
}
