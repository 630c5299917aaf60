package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// parseListen returns the canonical form of an address to listen on.
func parseListen(s string) (l listenAddress, err error) {
	if path, ok := unixPath(s); ok {
		l.unix, err = parseUnix(s, path)
		return l, err
	}
	if strings.Contains(s, "://") {
		return l, fmt.Errorf("%s has a scheme; use %s", quote(s), listenForm)
	}
	host, port, err := split(s, "", listenForm)
	if err != nil {
		return l, err
	}
	l = listenAddress{host: strings.ToLower(host), port: port}
	if l.host == "" || l.host == "localhost" {
		return l, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return l, fmt.Errorf("%s has the host %s; use %s", quote(s), quote(host), listenForm)
	}
	l.host = ip.String()
	return l, nil
}

// A listenAddress is an address to listen on in canonical form.
type listenAddress struct {
	host string // an IP address, "localhost", or "" for all addresses
	port uint16 // 0: a free one
	unix string // "unix:/absolute/path"; "" if it is host and port
}

func (l listenAddress) String() string {
	if l.unix != "" {
		return l.unix
	}
	return net.JoinHostPort(l.host, strconv.Itoa(int(l.port)))
}

// overlaps reports whether the two cannot be listened on both.
func (l listenAddress) overlaps(other listenAddress) bool {
	if l.unix != "" || other.unix != "" {
		return l.unix == other.unix
	}
	if l.port != other.port || l.port == 0 {
		return false
	}
	return l.host == other.host || l.wildcard() || other.wildcard() ||
		l.host == "localhost" && other.loopback() || other.host == "localhost" && l.loopback()
}

func (l listenAddress) wildcard() bool {
	return l.host == "" || l.host == "0.0.0.0" || l.host == "::"
}

// loopback reports whether localhost may lead here.
func (l listenAddress) loopback() bool { return l.host == "127.0.0.1" || l.host == "::1" }
