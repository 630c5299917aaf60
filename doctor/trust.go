package doctor

import (
	"net/netip"
	"slices"

	"fulcrum/config"
)

// trust looks at whom listeners believe what they say of who they are.
func trust(_ *Host, c *config.Config) (findings []Finding) {
	var headers, proxies, appended []string
	for _, l := range c.Listeners {
		if local(l.Address) {
			continue
		}
		if everybody(l.Trusted) {
			headers = append(headers, l.Name)
		}
		if l.AcceptProxy != nil && everybody(l.AcceptProxy.From) {
			proxies = append(proxies, l.Name)
		}
		if l.Forwarded == config.ForwardedAppend {
			appended = append(appended, l.Name)
		}
	}
	add := func(level Level, names []string, one, more, why, do string) {
		findings = append(findings, about("listener", names, level, one, more, why, do)...)
	}
	const anybody = "anybody who reaches it can come under any address, in access logs, in limits for each client and before the servers"
	add(Warning, headers, "trusts every address", "trust every address", anybody, `"trusted": the networks of the balancers in front, such as ["10.0.0.0/8"]`)
	add(Warning, proxies, "takes PROXY headers from every address", "take PROXY headers from every address", anybody, `"accept_proxy": {"from": the networks of the balancers in front, such as ["10.0.0.0/8"]}`)
	add(Warning, appended, `believes everybody ("forwarded": "append")`, `believe everybody ("forwarded": "append")`,
		"anybody who reaches it can say in X-Forwarded-For who they are, and the servers are told so", `"forwarded": "replace", "trusted": the networks of the balancers in front, such as ["10.0.0.0/8"]`)
	if len(findings) == 0 {
		return fine("nobody is believed whom the config does not name")
	}
	return findings
}

// everybody reports whether networks hold all addresses of a family.
func everybody(networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Bits() == 0 })
}
