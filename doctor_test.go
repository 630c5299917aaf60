package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// examined runs doctor, of which nobody knows what it says of this machine.
func examined(t *testing.T, args ...string) outcome {
	t.Helper()
	o := fulcrum(t, append([]string{"doctor"}, args...)...)
	bad := strings.Contains(o.stdout, "Warnings\n") || strings.Contains(o.stdout, "Problems\n") ||
		strings.Contains(o.stdout, `"worst": "warning"`) || strings.Contains(o.stdout, `"worst": "problem"`)
	switch {
	case bad && (o.code != exitFailed || !strings.HasPrefix(o.stderr, "fulcrum: doctor: ") || strings.Count(o.stderr, "\n") != 1):
		t.Errorf("exit code %d, stderr %q, stdout %s", o.code, o.stderr, o.stdout)
	case !bad:
		o.ok()
	}
	return o
}

// What is wrong with a config is found, in words and in JSON; nothing else is asked of
// the machine here than to say something of itself.
func TestDoctor(t *testing.T) {
	one := written(t, `{"listeners": [{"name": "a", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "lonely"}],
		"pools": [{"name": "lonely", "servers": ["127.0.0.1:1"]}]}`)
	o := examined(t, "--config", one)
	has(t, o.stdout, "Warnings\n", "pools: pool lonely has one server\n", "descriptors: ", "cpu quota: ")

	o = examined(t, "--json", "-c", one)
	var report struct {
		Config, Worst string
		Findings      []struct{ Check, Level, What string }
	}
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil || report.Config != one || report.Worst == "ok" || len(report.Findings) < 20 {
		t.Errorf("error %v, printed %s", err, o.stdout)
	}
	examined(t, "--config", written(t, fmt.Sprintf(valid, "127.0.0.1:0")))
}

// A config.json is looked at where there is one, else the machine alone. One with a
// mistake is a mistake.
func TestDoctorWithoutFlags(t *testing.T) {
	has(t, examined(t).stdout, "pools: ")
	t.Chdir(t.TempDir())
	if o := examined(t); strings.Contains(o.stdout, "pools: ") {
		t.Errorf("says %s", o.stdout)
	}
	if o := examined(t, "--json"); strings.Contains(o.stdout, `"config"`) {
		t.Errorf("says %s", o.stdout)
	}
	fulcrum(t, "doctor", "--config", "config.json").refused(exitUsage, "config.json: cannot open the file")
	fulcrum(t, "doctor", "--config", written(t, "{]")).refused(exitUsage, "config.json:1:2")
}
