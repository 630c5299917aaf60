package config

func (p *problems) retries(at *place) *Retries {
	r := standardRetries()
	if o := p.object(at, `an object such as {"attempts": 3, "percent": 10}`); o != nil {
		o.whole("attempts", attempts, &r.Attempts)
		o.whole("percent", percents, &r.Percent)
		o.end()
	}
	return r
}

func standardRetries() *Retries { return &Retries{DefaultRetryAttempts, DefaultRetryPercent} }

func (p *problems) completeRetries(r *Retries, at *place) {
	if at.bad() {
		return
	}
	p.whole(at.member("attempts"), &r.Attempts, attempts, 0)
	p.whole(at.member("percent"), &r.Percent, percents, 0)
}

func (p *problems) reuse(at *place) *Reuse {
	r := &Reuse{}
	if at.node.kind == kindBool && at.node.text == "false" {
		r.Off = true
		return r
	}
	if o := p.object(at, "false for a connection to each request, or an object"); o != nil {
		o.duration("idle_timeout", durations, &r.IdleTimeout)
		o.duration("max_age", durations, &r.MaxAge)
		o.whole("max_idle", idles, &r.MaxIdle)
		o.end()
	}
	return r
}

func (p *problems) completeReuse(r *Reuse, at *place) {
	if r.Off || at.bad() {
		return
	}
	p.duration(at.member("idle_timeout"), &r.IdleTimeout, durations, DefaultReuseIdleTimeout)
	p.duration(at.member("max_age"), &r.MaxAge, durations, DefaultReuseMaxAge)
	p.whole(at.member("max_idle"), &r.MaxIdle, idles, DefaultReuseMaxIdle)
}

// rewriteHost checks what a pool's servers see as Host. What the client sent is
// said by saying nothing.
func (p *problems) rewriteHost(at *place, host *string) {
	if at.bad() || *host == "" && !at.given() || *host == RewriteHostServer {
		return
	}
	canonical, ok := parseAuthority(*host)
	switch {
	case !ok:
		p.add(at, "%s is not allowed; use %s", quote(*host), rewriteForm)
	case canonical == RewriteHostServer:
		p.add(at, "%s is not allowed; did you mean %q? use %s", quote(*host), RewriteHostServer, rewriteForm)
	default:
		*host = canonical
	}
}
