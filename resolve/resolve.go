// Package resolve finds where the addresses of servers lead, and keeps that up
// to date for servers that are host names.
//
// Address is one lookup of any server address. A Watcher has one goroutine for
// each server of a pool whose address is a host name: it looks the name up at
// every interval and tells the pool (SetResolved) when it leads elsewhere. New
// starts nothing; Reconcile, called after every change to the pool's servers,
// starts and stops the goroutines so that they match; Stop ends them all and
// waits.
//
// The address in use stays as long as it is among the answers, however they are
// ordered, and when the resolver fails: a name that is gone or a resolver that
// is down takes no server away, only the checks of package health do. A server
// has one address at a time; a name is no way to give a pool several servers.
// The time to live of answers is not known to the system's resolver and plays
// no part.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Resolver looks up host names; *net.Resolver is one. A lookup must end when its
// ctx does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

const unixPrefix = "unix:"

// Address returns where a server's address leads: "ip:port", "name:port" (of
// several addresses the first) or "unix:/path". Only a name makes it wait, at
// most until ctx ends. The error says which server it is about.
func Address(ctx context.Context, address string) (net.Addr, error) {
	to, err := find(ctx, net.DefaultResolver, address, nil)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", address, err)
	}
	return to, nil
}

// find returns where an address leads: to the same place as now, if that is one
// of the answers.
func find(ctx context.Context, r Resolver, address string, now net.Addr) (net.Addr, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return &net.UnixAddr{Net: "unix", Name: path}, nil
	}
	if literal, err := netip.ParseAddrPort(address); err == nil {
		return net.TCPAddrFromAddrPort(literal), nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("the port is %q; use a number up to 65535", port)
	}
	ips, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	return choose(ips, uint16(number), now)
}

// choose returns the one of the answers that is in use now, or else the first.
// Answers that no server can have are left out: a filtering resolver answers
// 0.0.0.0 for a name it hides, and connecting there reaches this machine.
func choose(ips []netip.Addr, port uint16, now net.Addr) (net.Addr, error) {
	var first netip.AddrPort
	for _, ip := range ips {
		to := netip.AddrPortFrom(ip.Unmap(), port)
		switch {
		case !ip.IsValid() || to.Addr().IsUnspecified() || to.Addr().IsMulticast():
		case same(to, now):
			return now, nil
		case !first.IsValid():
			first = to
		}
	}
	switch {
	case len(ips) == 0:
		return nil, errors.New("the name has no address")
	case !first.IsValid():
		return nil, fmt.Errorf("the name leads to %v, where no server can be", ips[0])
	}
	return net.TCPAddrFromAddrPort(first), nil
}

func same(to netip.AddrPort, now net.Addr) bool {
	tcp, ok := now.(*net.TCPAddr)
	if !ok {
		return false
	}
	in := tcp.AddrPort()
	return to == netip.AddrPortFrom(in.Addr().Unmap(), in.Port())
}

// isName reports whether a server's address is a host name, which may lead
// elsewhere tomorrow.
func isName(address string) bool {
	_, err := netip.ParseAddrPort(address)
	return err != nil && !strings.HasPrefix(address, unixPrefix)
}
