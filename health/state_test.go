package health

import (
	"strings"
	"testing"
)

// play applies results, '+' passed and '-' failed, and returns what came of
// each: h or u for healthy or unhealthy, in capitals where it was decided anew.
func play(s *State, results string) string {
	var story strings.Builder
	for _, result := range results {
		letter := "u"
		changed := s.Apply(result == '+')
		if s.Healthy {
			letter = "h"
		}
		if changed {
			letter = strings.ToUpper(letter)
		}
		story.WriteString(letter)
	}
	return story.String()
}

func TestState(t *testing.T) {
	for name, c := range map[string]struct {
		rise, fall    int
		results, want string
	}{
		"the first result decides, passed":   {3, 3, "+", "H"},
		"the first result decides, failed":   {3, 3, "-", "U"},
		"stays healthy":                      {2, 3, "++++", "Hhhh"},
		"falls":                              {2, 3, "+---", "HhhU"},
		"falls once":                         {2, 3, "+------", "HhhUuuu"},
		"a pass in between starts anew":      {2, 3, "+--+--+---", "HhhhhhhhhU"},
		"rises":                              {2, 3, "-++", "UuH"},
		"a failure in between starts anew":   {3, 2, "-++-++-+++", "UuuuuuuuuH"},
		"falls and rises":                    {2, 3, "+---++---", "HhhUuHhhU"},
		"one is enough":                      {1, 1, "+-+-", "HUHU"},
		"what counted to fall is not rise's": {3, 2, "+--++-+++", "HhUuuuuuH"},
		"zero is taken as one":               {0, 0, "-+-", "UHU"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := play(&State{Rise: c.rise, Fall: c.fall}, c.results); got != c.want {
				t.Errorf("%s gave %s, want %s", c.results, got, c.want)
			}
		})
	}
}
