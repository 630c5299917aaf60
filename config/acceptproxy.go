package config

import (
	"net/netip"
	"strings"
)

// network reads a network, or an address as the network of it alone.
func (p *problems) network(at *place) (network netip.Prefix) {
	if at.node.kind != kindString {
		p.addBad(at, "found %v; use %s", at.node, networkForm)
		return network
	}
	text, err := at.node.text, error(nil)
	if strings.Contains(text, "/") {
		network, err = netip.ParsePrefix(text)
	} else {
		var ip netip.Addr
		if ip, err = netip.ParseAddr(text); ip.Zone() == "" {
			network = netip.PrefixFrom(ip, ip.BitLen())
		}
	}
	if err != nil || !network.IsValid() {
		p.addBad(at, "%s is not allowed; use %s", quote(text), networkForm)
	}
	return network
}

func (p *problems) completeAcceptProxy(a *AcceptProxy, at *place) {
	if a == nil || at.bad() {
		return
	}
	p.networks(at.member("from"), a.From)
	p.duration(at.member("timeout"), &a.Timeout, durations, DefaultAcceptProxyTimeout)
}

// networks checks a list of networks, of which there has to be one.
func (p *problems) networks(at *place, all []netip.Prefix) {
	if len(all) == 0 && !at.bad() {
		found := "missing"
		if at.given() {
			found = "empty"
		}
		p.add(at, "%s; use an array of networks or IP addresses", found)
	}
	for i := range all[:p.atMost(at, len(all), maxNetworks)] {
		item := at.item(i)
		if item.bad() {
			continue
		}
		network := unmap(all[i])
		switch {
		case !network.IsValid():
			p.add(item, "%v is not allowed; use %s", item.show(network), networkForm)
		case network != network.Masked():
			p.add(item, "%s has bits set behind the first %d; use %q", item.show(network), network.Bits(), network.Masked())
		}
		all[i] = network
	}
}

// unmap returns a network of IPv4 addresses that are written as IPv6 ones as
// what it is, for to netip an IPv4-mapped network holds no IPv4 address. One
// that is wider than all of IPv4 becomes invalid.
func unmap(network netip.Prefix) netip.Prefix {
	if !network.Addr().Is4In6() {
		return network
	}
	return netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
}
