package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"fulcrum/config"
)

// pools looks at what the pools are made of.
func pools(_ *Host, c *config.Config) (findings []Finding) {
	var unfed, empty, single []string
	for _, p := range c.Pools {
		switch fed := len(feeders(c, p.Name)) > 0; {
		case !fed:
			unfed = append(unfed, p.Name)
		case len(p.Servers) == 0:
			empty = append(empty, p.Name)
		case len(p.Servers) == 1:
			single = append(single, p.Name)
		}
	}
	add := func(level Level, names []string, one, more, why, do string) {
		findings = append(findings, about("pool", names, level, one, more, why, do)...)
	}
	add(Warning, unfed, "is fed by no listener", "are fed by no listener",
		"its servers are checked, but nobody is sent to them", `"pool": "`+first(unfed)+`" in a listener or one of its routes, or take the pool out`)
	add(Warning, single, "has one server", "have one server each",
		"when it is down, or deployed anew, there is nobody to take its work", `add another to its "servers", or: fulcrum servers upload --pool `+first(single)+" ADDRESS")
	add(Info, empty, "has no servers", "have no servers",
		"its clients are refused until some are uploaded", "fulcrum servers upload --pool "+first(empty)+" ADDRESS")
	findings = append(findings, circles(c)...)
	findings = append(findings, duplicates(c)...)
	if len(findings) == 0 {
		return fine("every pool is fed and has more than one server")
	}
	return findings
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// circles looks for servers that are the balancer itself.
func circles(c *config.Config) (findings []Finding) {
	for _, p := range c.Pools {
		for _, l := range feeders(c, p.Name) {
			i := slices.IndexFunc(p.Servers, func(s config.Server) bool { return reaches(s.Address, l.Address) })
			if i < 0 {
				continue
			}
			findings = append(findings, Finding{
				Level: Problem,
				What:  fmt.Sprintf("server %s of pool %s is listener %s, which feeds that pool", p.Servers[i].Address, p.Name, l.Name),
				Why:   "what is sent there comes back, again and again, until no descriptors are left",
				Do:    fmt.Sprintf("take %s out of the servers of pool %s, or give listener %s another address", p.Servers[i].Address, p.Name, l.Name),
			})
		}
	}
	return findings
}

// reaches reports whether who connects to a server's address of this machine comes to
// what listens on another. Addresses of the machine other than loopback are not known.
func reaches(server, listener string) bool {
	if strings.HasPrefix(listener, "unix:") || strings.HasPrefix(server, "unix:") {
		return server == listener
	}
	to, toPort, err := net.SplitHostPort(server)
	on, onPort, err2 := net.SplitHostPort(listener)
	if err != nil || err2 != nil || toPort != onPort {
		return false
	}
	ip, err := netip.ParseAddr(to)
	loopback := to == "localhost" || err == nil && ip.IsLoopback()
	everywhere := on == "" || on == "0.0.0.0" || on == "::"
	return to == on || loopback && everywhere || to == "localhost" && isLocalhost(on) || on == "localhost" && isLocalhost(to)
}

// isLocalhost reports whether an address is one that localhost leads to.
func isLocalhost(host string) bool { return host == "127.0.0.1" || host == "::1" }

// duplicates looks for servers that several pools have.
func duplicates(c *config.Config) (findings []Finding) {
	in := make(map[string][]string)
	var addresses []string
	for _, p := range c.Pools {
		for _, s := range p.Servers {
			if in[s.Address] = append(in[s.Address], p.Name); len(in[s.Address]) == 2 {
				addresses = append(addresses, s.Address)
			}
		}
	}
	if len(addresses) == 0 {
		return nil
	}
	return []Finding{{
		Level: Info,
		What:  fmt.Sprintf("%s in more than one pool, such as %s", those("server", addresses, "is", "are"), list(in[addresses[0]])),
		Why:   "each pool counts, limits and checks it by itself: the server may get as many connections as both allow",
	}}
}
