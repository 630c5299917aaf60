package config

import (
	"net/netip"
	"strings"
)

// What an admin listener's settings look like, for messages.
const (
	tokenForm     = `an object such as {"name": "ci", "file": "/etc/fulcrum/ci.token"}, for the token itself does not stand in a config`
	fileForm      = "the path of a file"
	envForm       = "1 to 256 of the characters A-Z a-z 0-9 _, no digit first"
	adminHostForm = "a host name or an IP address, without a port"
)

func (p *problems) admin(at *place) *Admin {
	a := &Admin{}
	if o := p.object(at, "an object with an address"); o != nil {
		o.text("address", listenForm, &a.Address)
		a.Tokens = o.tokens("tokens")
		if files := o.member("tls"); files.given() {
			a.TLS = p.adminTLS(files)
		}
		a.Hosts = list(o, "hosts", p.adminHost)
		o.end()
	}
	return a
}

// tokens reads where tokens are found. What stands in the place of one is never
// repeated, for it may be the secret.
func (o *object) tokens(key string) []Token {
	at := o.member(key)
	switch {
	case !at.given():
		return nil
	case at.node.kind != kindArray:
		o.addBad(at, "not an array; use one of %s", tokenForm)
		return nil
	}
	return items(at, o.token)
}

func (p *problems) token(at *place) (t Token) {
	if at.node.kind != kindObject {
		p.addBad(at, "not an object; use %s", tokenForm)
		return t
	}
	o := &object{problems: p, at: at}
	o.text("name", nameForm, &t.Name)
	o.text("access", "one of "+names(Accesses()), &t.Access)
	o.text("file", fileForm, &t.File)
	o.text("env", "the name of an environment variable", &t.Env)
	o.end()
	return t
}

func (p *problems) adminTLS(at *place) *AdminTLS {
	t := &AdminTLS{}
	if o := p.object(at, "an object with certificate and key"); o != nil {
		o.text("certificate", fileForm, &t.Certificate)
		o.text("key", fileForm, &t.Key)
		o.text("client_ca", fileForm, &t.ClientCA)
		o.end()
	}
	return t
}

func (p *problems) adminHost(at *place) string {
	if at.node.kind != kindString {
		p.addBad(at, "found %v; use %s", at.node, adminHostForm)
		return ""
	}
	return at.node.text
}

// completeAdmin checks the admin listener against the addresses of the others.
func (p *problems) completeAdmin(a *Admin, at *place, taken []takenAddress) {
	address := at.member("address")
	if a.Address == "" && !address.given() {
		a.Address = DefaultAdminAddress
	}
	if at.bad() {
		return
	}
	p.listen(address, &a.Address, taken)
	p.completeTokens(a.Tokens, at.member("tokens"))
	p.completeAdminTLS(a, at.member("tls"))
	p.completeHosts(a.Hosts, at.member("hosts"))
	if l, err := parseListen(a.Address); err == nil && !l.local() && !a.asks(at) {
		p.add(address, `%s can be reached from elsewhere, and nobody would be asked who they are; `+
			`add tokens or a tls with a client_ca, or use a loopback address or %s`, quote(a.Address), unixForm)
	}
}

// asks reports whether the admin listener at a place asks who its clients are, or
// may be meant to.
func (a *Admin) asks(at *place) bool {
	tls := at.member("tls")
	return len(a.Tokens) > 0 || at.member("tokens").bad() ||
		a.TLS != nil && a.TLS.ClientCA != "" || tls.bad() || tls.member("client_ca").bad()
}

// local reports whether nobody but this machine can connect to the address.
func (l listenAddress) local() bool {
	ip, err := netip.ParseAddr(l.host)
	return l.unix != "" || l.host == "localhost" || err == nil && ip.IsLoopback()
}

func (p *problems) completeTokens(tokens []Token, at *place) {
	seen := make(map[string]string)
	for i := range tokens[:p.atMost(at, len(tokens), maxTokens)] {
		t, at := &tokens[i], at.item(i)
		if at.bad() {
			continue
		}
		p.name(at, t.Name, seen)
		p.oneOf(at.member("access"), &t.Access, Accesses(), DefaultAccess)
		file, env := at.member("file"), at.member("env")
		hasFile, hasEnv := t.File != "" || file.given(), t.Env != "" || env.given()
		switch {
		case hasFile == hasEnv:
			p.add(at, "the token is in either a file or an env; use exactly one of them")
		case hasFile:
			p.path(file, t.File)
		case !env.bad() && !validEnv(t.Env):
			p.add(env, "not the name of an environment variable; use %s", envForm)
		}
	}
}

func (p *problems) completeAdminTLS(a *Admin, at *place) {
	switch _, unix := unixPath(a.Address); {
	case a.TLS == nil || at.bad():
	case unix:
		p.add(at, "what goes through a unix socket stays on this machine; leave it out")
	default:
		p.path(at.member("certificate"), a.TLS.Certificate)
		p.path(at.member("key"), a.TLS.Key)
		if ca := at.member("client_ca"); a.TLS.ClientCA != "" || ca.given() {
			p.path(ca, a.TLS.ClientCA)
		}
	}
}

// path checks the path of a file that is required.
func (p *problems) path(at *place, path string) {
	if p.required(at, path, fileForm) && (len(path) > maxFilePath || strings.HasSuffix(path, "/") || strings.Contains(path, "\x00")) {
		p.add(at, "%s is not allowed; use %s", quote(path), fileForm)
	}
}

func (p *problems) completeHosts(hosts []string, at *place) {
	for i := range hosts[:p.atMost(at, len(hosts), maxHosts)] {
		item := at.item(i)
		if item.bad() {
			continue
		}
		canonical, ok := canonicalHost(hosts[i])
		if !ok {
			p.add(item, "%s is not allowed; use %s", quote(hosts[i]), adminHostForm)
		}
		hosts[i] = strings.TrimSuffix(canonical, ".")
	}
}

func validEnv(s string) bool {
	const digits = "0123456789"
	return s != "" && len(s) <= maxEnv && !strings.Contains(digits, s[:1]) &&
		strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"+digits) == ""
}
