package config

func (p *problems) notTCP(at *place, l *Listener) {
	p.refuse(at, "only a tcp listener has it",
		setting{"half_closed_timeout", l.HalfClosedTimeout != 0},
		setting{"hello_timeout", l.HelloTimeout != 0})
}

// completeTCP checks what only a tcp listener has.
func (p *problems) completeTCP(at *place, l *Listener) {
	p.duration(at.member("half_closed_timeout"), &l.HalfClosedTimeout, durations, l.IdleTimeout)
	switch hello := at.member("hello_timeout"); {
	case l.routed(at):
		p.duration(hello, &l.HelloTimeout, durations, DefaultHelloTimeout)
	case !hello.bad() && (hello.given() || l.HelloTimeout != 0):
		p.add(hello, "only a listener with routes waits for a ClientHello; add routes or leave it out")
	}
}
