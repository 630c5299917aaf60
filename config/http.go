package config

func (p *problems) notHTTP(at *place, l *Listener) {
	p.refuse(at, "only an http listener has it",
		setting{"header_timeout", l.HeaderTimeout != 0},
		setting{"forwarded", l.Forwarded != ""},
		setting{"trusted", len(l.Trusted) != 0},
		setting{"min_body_rate", l.MinBodyRate != 0},
		setting{"max_header_bytes", l.MaxHeaderBytes != 0},
		setting{"max_headers", l.MaxHeaders != 0},
		setting{"max_body_bytes", l.MaxBodyBytes != 0},
		setting{"access_log_format", l.AccessLogFormat != ""})
}

// completeHTTP checks what only an http listener has.
func (p *problems) completeHTTP(at *place, l *Listener) {
	p.duration(at.member("header_timeout"), &l.HeaderTimeout, durations, DefaultHeaderTimeout)
	known := p.oneOf(at.member("forwarded"), &l.Forwarded, Forwardeds(), DefaultForwarded)
	if trusted := at.member("trusted"); trusted.given() || len(l.Trusted) > 0 {
		p.trusted(trusted, l, known)
	}
	p.whole(at.member("min_body_rate"), &l.MinBodyRate, bodyRates, 0)
	p.whole(at.member("max_header_bytes"), &l.MaxHeaderBytes, headerBytes, DefaultMaxHeaderBytes)
	p.whole(at.member("max_headers"), &l.MaxHeaders, headerCounts, DefaultMaxHeaders)
	p.whole(at.member("max_body_bytes"), &l.MaxBodyBytes, bodyBytes, 0)
	format, log := at.member("access_log_format"), at.member("access_log")
	switch {
	case l.AccessLog != "" || log.given():
		p.oneOf(format, &l.AccessLogFormat, AccessLogFormats(), DefaultAccessLogFormat)
	case !format.bad() && (format.given() || l.AccessLogFormat != ""):
		p.add(format, "there is no access log; add access_log or leave it out")
	}
}

// trusted checks the networks whose claims are continued; known says whether
// the listener's policy is one.
func (p *problems) trusted(at *place, l *Listener, known bool) {
	why := ""
	switch {
	case l.unix():
		why = noAddress
	case known && l.Forwarded == ForwardedAppend:
		why = `with "forwarded": "append" everybody is trusted`
	case known && l.Forwarded == ForwardedOff:
		why = `with "forwarded": "off" nobody's claims are touched`
	}
	if why != "" {
		p.refuse(at.up, why, setting{"trusted", true})
		return
	}
	p.networks(at, l.Trusted)
}
