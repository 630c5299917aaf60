package config

import "strings"

// decode reads a Config out of the tree. It reports what has the wrong type or
// cannot be made out, and unknown or repeated keys; what the values may be is
// left to complete. Elements that cannot be read are kept as zero values, so
// that positions in the file and in the Config agree.
func (p *problems) decode(at *place) *Config {
	c := &Config{}
	if o := p.object(at, "an object with listeners and pools"); o != nil {
		c.Listeners = list(o, "listeners", p.listener)
		c.Pools = list(o, "pools", p.pool)
		if admin := o.member("admin"); admin.given() {
			c.Admin = p.admin(admin)
		}
		o.duration("shutdown_timeout", durations, &c.ShutdownTimeout)
		o.text("io", "one of "+names(IOs()), &c.IO)
		o.state("state", &c.State)
		o.text("$schema", "the address of a JSON Schema, which is for editors and not read", new(string))
		o.end()
	}
	return c
}

// state reads the path of a file, or false for none.
func (o *object) state(key string, to *string) {
	at := o.typed(key, stateForm, kindString, kindBool)
	switch {
	case at == nil, at.node.kind == kindBool && at.node.text == "false":
	case at.node.kind == kindBool:
		o.addBad(at, "found %v; use %s", at.node, stateForm)
	case at.node.text == "" || strings.ContainsRune(at.node.text, 0):
		o.addBad(at, "%s is not allowed; use %s", quote(at.node.text), stateForm)
	default:
		*to = at.node.text
	}
}

func (p *problems) listener(at *place) (l Listener) {
	if o := p.object(at, "an object with name, protocol, address and pool"); o != nil {
		o.text("name", nameForm, &l.Name)
		o.text("protocol", "one of "+names(Protocols()), &l.Protocol)
		o.text("address", listenForm, &l.Address)
		o.text("pool", "the name of a pool", &l.Pool)
		l.Routes = list(o, "routes", p.route)
		o.duration("idle_timeout", durations, &l.IdleTimeout)
		o.whole("max_connections", limits, &l.MaxConnections)
		o.whole("max_connections_per_client", limits, &l.MaxConnectionsPerClient)
		o.duration("tcp_keepalive", keepalives, &l.TCPKeepalive)
		o.duration("tcp_user_timeout", userTimeouts, &l.TCPUserTimeout)
		if accept := o.member("accept_proxy"); accept.given() {
			l.AcceptProxy = p.acceptProxy(accept)
		}
		o.text("access_log", accessLogForm, &l.AccessLog)
		o.duration("half_closed_timeout", durations, &l.HalfClosedTimeout)
		o.duration("hello_timeout", durations, &l.HelloTimeout)
		o.duration("header_timeout", durations, &l.HeaderTimeout)
		o.text("forwarded", "one of "+names(Forwardeds()), &l.Forwarded)
		l.Trusted = list(o, "trusted", p.network)
		o.whole("min_body_rate", bodyRates, &l.MinBodyRate)
		o.whole("max_header_bytes", headerBytes, &l.MaxHeaderBytes)
		o.whole("max_headers", headerCounts, &l.MaxHeaders)
		o.whole("max_body_bytes", bodyBytes, &l.MaxBodyBytes)
		o.text("access_log_format", "one of "+names(AccessLogFormats()), &l.AccessLogFormat)
		o.end()
	}
	return l
}

func (p *problems) acceptProxy(at *place) *AcceptProxy {
	a := &AcceptProxy{}
	if o := p.object(at, `an object such as {"from": ["10.0.0.0/8"]}`); o != nil {
		a.From = list(o, "from", p.network)
		o.duration("timeout", durations, &a.Timeout)
		o.end()
	}
	return a
}

func (p *problems) route(at *place) (r Route) {
	if o := p.object(at, "an object with sni and pool, or with host, path and pool"); o != nil {
		o.text("sni", sniForm, &r.SNI)
		o.text("host", hostForm, &r.Host)
		o.text("path", prefixForm, &r.Path)
		o.text("pool", "the name of a pool", &r.Pool)
		o.flag("strip_prefix", &r.StripPrefix)
		if headers := o.member("request_headers"); headers.given() {
			r.RequestHeaders = p.headers(headers)
		}
		if headers := o.member("response_headers"); headers.given() {
			r.ResponseHeaders = p.headers(headers)
		}
		if redirect := o.member("redirect"); redirect.given() {
			r.Redirect = p.redirect(redirect)
		}
		o.end()
	}
	return r
}

func (p *problems) pool(at *place) (pool Pool) {
	if o := p.object(at, "an object with name and servers"); o != nil {
		o.text("name", nameForm, &pool.Name)
		o.text("algorithm", "one of "+names(Algorithms()), &pool.Algorithm)
		pool.Servers = list(o, "servers", p.server)
		if health := o.member("health"); health.given() {
			pool.Health = p.health(health)
		}
		o.duration("connect_timeout", durations, &pool.ConnectTimeout)
		o.duration("response_timeout", durations, &pool.ResponseTimeout)
		o.duration("drain_timeout", durations, &pool.DrainTimeout)
		o.text("send_proxy", "one of "+names(SendProxies()), &pool.SendProxy)
		if queue := o.member("queue"); queue.given() {
			pool.Queue = p.queue(queue)
		}
		o.text("on_unhealthy", "one of "+names(OnUnhealthies()), &pool.OnUnhealthy)
		o.duration("resolve_interval", durations, &pool.ResolveInterval)
		pool.Source = o.source("source")
		o.duration("tcp_keepalive", keepalives, &pool.TCPKeepalive)
		o.duration("tcp_user_timeout", userTimeouts, &pool.TCPUserTimeout)
		if retries := o.member("retries"); retries.given() {
			pool.Retries = p.retries(retries)
		}
		if reuse := o.member("reuse"); reuse.given() {
			pool.Reuse = p.reuse(reuse)
		}
		o.text("rewrite_host", rewriteForm, &pool.RewriteHost)
		o.end()
	}
	return pool
}

func (p *problems) queue(at *place) *Queue {
	q := &Queue{}
	if o := p.object(at, `an object such as {"length": 1000, "timeout": "10s"}`); o != nil {
		o.whole("length", queueLengths, &q.Length)
		o.duration("timeout", durations, &q.Timeout)
		o.end()
	}
	return q
}

func (p *problems) server(at *place) (s Server) {
	if at.node.kind == kindString {
		s.Address = at.node.text
		return s
	}
	if o := p.object(at, "a string such as "+serverForm+", or an object with an address"); o != nil {
		o.text("address", serverForm, &s.Address)
		o.whole("weight", weights, &s.Weight)
		o.whole("max_connections", limits, &s.MaxConnections)
		s.Source = o.source("source")
		o.end()
	}
	return s
}

func (p *problems) health(at *place) *Health {
	h := &Health{}
	if at.node.kind == kindBool && at.node.text == "false" {
		h.Off = true
		return h
	}
	if o := p.object(at, "false to turn checks off, or an object"); o != nil {
		o.duration("interval", durations, &h.Interval)
		o.duration("timeout", durations, &h.Timeout)
		o.whole("rise", streaks, &h.Rise)
		o.whole("fall", streaks, &h.Fall)
		o.text("path", pathForm, &h.Path)
		o.status("status", &h.Status)
		o.end()
	}
	return h
}
