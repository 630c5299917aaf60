package health

import "time"

// State turns the results of single checks into healthy or not. The first result
// decides at once, so that a server is used as soon as it has passed; later it
// takes Rise passed or Fall failed checks in a row.
type State struct {
	Rise, Fall int
	Healthy    bool

	checked bool
	against int // how many results in a row spoke against Healthy
	since   time.Time
	void    bool // the last check came to nothing, and that was logged
}

// Apply takes in a result and reports whether Healthy was decided anew.
func (s *State) Apply(passed bool) (changed bool) {
	if !s.checked {
		s.checked = true
		s.Healthy = passed
		return true
	}
	if passed == s.Healthy {
		s.against = 0
		return false
	}
	s.against++
	if passed && s.against < s.Rise || !passed && s.against < s.Fall {
		return false
	}
	s.against = 0
	s.Healthy = passed
	return true
}
