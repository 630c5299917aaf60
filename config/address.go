package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// What addresses look like, for messages.
const (
	tcpForm    = `"host:port" or "http://host:port"`
	unixForm   = `"unix:/absolute/path"`
	serverForm = `"host:port", "http://host:port" or ` + unixForm
	listenForm = `"host:port" or ":port" with an IP address or localhost as the host, or ` + unixForm
)

// ParseServer returns the canonical address of a server: host:port of one that
// is given as "http://host:port", "http://host" (port 80) or "host:port", and
// "unix:/absolute/path" as it is. IP addresses come back in their canonical
// form, names in lower case, so that equal servers are equal strings. The error
// says what is allowed; it never repeats a password. No name is looked up.
func ParseServer(s string) (address string, err error) {
	if path, ok := unixPath(s); ok {
		return parseUnix(s, path)
	}
	if strings.Contains(s, "@") {
		return "", fmt.Errorf("a user or password is not allowed in a server's address; use %s", serverForm)
	}
	rest, standard := s, ""
	if scheme, after, ok := strings.Cut(s, "://"); ok {
		switch strings.ToLower(scheme) {
		case "http":
			rest, standard = after, "80"
		case "https":
			return "", fmt.Errorf("%s: TLS to servers is not supported yet; use http://", quote(s))
		default:
			return "", fmt.Errorf("%s has the scheme %s; use %s", quote(s), quote(scheme), serverForm)
		}
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return "", fmt.Errorf("%s has a path or query, %s; use %s without one", quote(s), quote(rest[i:]), tcpForm)
	}
	host, port, err := split(rest, standard, serverForm)
	if err != nil {
		return "", err
	}
	if port == 0 {
		return "", fmt.Errorf("%s has the port 0; use 1 to 65535", quote(s))
	}
	canonical, ok := canonicalHost(host)
	if !ok {
		return "", fmt.Errorf("%s has the host %s; use an IP address or a host name", quote(s), quote(host))
	}
	return net.JoinHostPort(canonical, strconv.Itoa(int(port))), nil
}

// parseAuthority returns the canonical form of host or host:port, an IPv6
// address in brackets, and whether s is that: RFC 9110 section 7.2.
func parseAuthority(s string) (canonical string, ok bool) {
	host, port, err := split(s, "80", "")
	if err != nil || port == 0 {
		return "", false
	}
	if host, ok = canonicalHost(host); !ok {
		return "", false
	}
	if strings.LastIndexByte(s, ':') > strings.LastIndexByte(s, ']') {
		return net.JoinHostPort(host, strconv.Itoa(int(port))), true
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host, true
}

// canonicalHost returns the one form of an IP address or host name, and whether
// it is one of these.
func canonicalHost(s string) (host string, ok bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.String(), true
	}
	host = strings.ToLower(s)
	return host, isHostName(host)
}

// split takes "host:port" apart, without judging a host that is not in
// brackets. A missing port is the standard one; if that is "" it is an error.
// An IPv6 address comes back without its brackets, one that stands for an IPv4
// address as that.
func split(s, standard, form string) (host string, port uint16, err error) {
	host, tail, found := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") {
		host, tail, found = strings.Cut(s[1:], "]")
		ip, err := netip.ParseAddr(host)
		if !found || err != nil || !ip.Is6() || ip.Zone() != "" || tail != "" && tail[0] != ':' {
			return "", 0, fmt.Errorf(`%s is not an IPv6 address in brackets; use "[address]:port" without a zone`, quote(s))
		}
		host = ip.Unmap().String()
		tail, found = strings.CutPrefix(tail, ":")
	} else if strings.Contains(tail, ":") {
		return "", 0, fmt.Errorf(`%s has more than one colon; put an IPv6 address in brackets, "[address]:port"`, quote(s))
	}
	if !found && standard == "" {
		return "", 0, fmt.Errorf("%s has no port; use %s", quote(s), form)
	}
	if !found {
		tail = standard
	}
	n, err := strconv.ParseUint(tail, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%s has the port %s; use a number up to 65535", quote(s), quote(tail))
	}
	return host, uint16(n), nil
}

// isHostName reports whether s, in lower case, is a name that can be looked up:
// RFC 1123 section 2.1, and underscores, which are common in container names.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
		last = label
	}
	// What ends in a number is a mistyped IPv4 address.
	return strings.Trim(last, "0123456789") != ""
}
