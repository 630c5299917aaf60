package config

import (
	"net/netip"
)

const sourceForm = "an IP address of this machine or an array of 1 to 64 of them"

// source reads one address or an array of them.
func (o *object) source(key string) []netip.Addr {
	at := o.typed(key, sourceForm, kindString, kindArray)
	switch {
	case at == nil:
		return nil
	case at.node.kind == kindString:
		return []netip.Addr{o.sourceAddress(at)}
	}
	return items(at, o.sourceAddress)
}

func (p *problems) sourceAddress(at *place) netip.Addr {
	if at.node.kind != kindString {
		p.addBad(at, "found %v; use an IP address of this machine", at.node)
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(at.node.text)
	if err != nil {
		p.addBad(at, "%s is not an IP address; use one of this machine", quote(at.node.text))
	}
	return ip
}

// completeSource checks the addresses to connect from, and returns the first
// of them, invalid if there is none that is allowed.
func (p *problems) completeSource(at *place, source []netip.Addr) (first netip.Addr) {
	if len(source) == 0 && at.given() && !at.bad() {
		p.add(at, "empty; use %s", sourceForm)
	}
	seen := make(map[netip.Addr]*place, len(source))
	for i := range source[:p.atMost(at, len(source), maxSources)] {
		item := at
		if !at.given() || at.node.kind == kindArray {
			item = at.item(i)
		}
		if item.bad() {
			continue
		}
		ip := source[i].Unmap()
		source[i] = ip
		switch other := seen[ip]; {
		case !ip.IsValid() || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast():
			p.add(item, "%s is no address to connect from; use an IP address of this machine, without a zone", item.show(ip))
			continue
		case other != nil:
			p.add(item, "%s is already given by %v; keep one of them", item.show(ip), other)
			continue
		case first.IsValid() && family(first) != family(ip):
			p.add(item, "%s is %s, but %v is %s; use one family", item.show(ip), family(ip), first, family(first))
		}
		seen[ip] = item
		if !first.IsValid() {
			first = ip
		}
	}
	return first
}

// connectable checks that the server at a place, whose address is in its
// canonical form and stands at another place, can be connected to from its
// source; ofPool is the first of the pool's and applies if it has none.
func (p *problems) connectable(at, address *place, s *Server, own, ofPool netip.Addr) {
	source := at.member("source")
	if _, ok := unixPath(s.Address); ok {
		if len(s.Source) > 0 {
			p.add(source, "a unix socket is connected to from no address; leave it out")
		}
		return
	}
	to, err := netip.ParseAddrPort(s.Address)
	switch {
	case err != nil:
	case own.IsValid() && family(own) != family(to.Addr()):
		p.add(source, "%v is %s, but the server is %s; use %s", own, family(own), family(to.Addr()), family(to.Addr()))
	case len(s.Source) == 0 && !source.given() && ofPool.IsValid() && family(ofPool) != family(to.Addr()):
		p.add(address, "%s is %s, but the pool's source is %s; give the server a source of its own",
			quote(s.Address), family(to.Addr()), family(ofPool))
	}
}

func family(ip netip.Addr) string {
	if ip.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
