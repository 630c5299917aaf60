package config

// complete fills in the defaults and reports everything that is not allowed.
// Of a value that was found bad in decoding nothing more is said.
func (p *problems) complete(c *Config, at *place) {
	if at.bad() {
		return
	}
	p.completeListeners(c, at)
	p.completePools(c, at)
	p.duration(at.member("shutdown_timeout"), &c.ShutdownTimeout, durations, DefaultShutdownTimeout)
	p.oneOf(at.member("io"), &c.IO, IOs(), DefaultIO)
}
