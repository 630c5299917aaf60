package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asProgram in its environment makes the test binary the program itself, for
// shells to run.
const asProgram = "FULCRUM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of these tests. None of them needs it to pass.
const patience = 20 * time.Second

// outcome is what came of a command line.
type outcome struct {
	t              *testing.T
	code           int
	stdout, stderr string
}

// fulcrum runs a command line that ends by itself.
func fulcrum(t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- run(append([]string{"fulcrum"}, args...), &stdout, &stderr) }()
	select {
	case code := <-ended:
		return outcome{t, code, stdout.String(), stderr.String()}
	case <-time.After(patience):
		t.Fatalf("fulcrum %q: did not end within %v", args, patience)
		return outcome{}
	}
}

// ok expects success, with all these parts printed and no complaint.
func (o outcome) ok(parts ...string) {
	o.t.Helper()
	if o.code != 0 || o.stderr != "" {
		o.t.Errorf("exit code %d, stderr %q", o.code, o.stderr)
	}
	has(o.t, o.stdout, parts...)
}

// refused expects an exit code and a message that has all these parts.
func (o outcome) refused(code int, parts ...string) {
	o.t.Helper()
	if o.code != code || o.stdout != "" {
		o.t.Errorf("exit code %d, want %d; stdout %q", o.code, code, o.stdout)
	}
	if !strings.HasPrefix(o.stderr, "fulcrum: ") || !strings.HasSuffix(o.stderr, "\n") {
		o.t.Errorf("stderr is %q", o.stderr)
	}
	has(o.t, o.stderr, parts...)
}

func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in %q", part, text)
		}
	}
}

func TestVersion(t *testing.T) {
	fulcrum(t, "--version").ok("fulcrum version ")
	fulcrum(t, "-v").ok("fulcrum version ")
}

// Help explains, gives an example that can be copied, and goes to stdout.
func TestHelp(t *testing.T) {
	commands := []string{"run", "check", "doctor", "tcp", "http", "demo", "servers", "pools", "listeners", "config", "status",
		"reload", "upgrade", "drain", "undrain", "top", "explain", "events", "log-level", "schema", "completion", "man"}
	for _, args := range [][]string{{}, {"--help"}, {"-h"}} {
		fulcrum(t, args...).ok(append(commands, "fulcrum demo --load", "fulcrum http --listen :8080 --server ", "fulcrum check --config")...)
	}
	for _, c := range []struct{ command, parts string }{
		{"run", "fulcrum run [--config config.json] [--check]|--config FILE|--log-level LEVEL|debug, info, warn or error|--log-format FORMAT"},
		{"check", "fulcrum check [--config config.json]|--config FILE"},
		{"doctor", "fulcrum doctor [--config config.json] [--json]|--config FILE|--json|exit code is 1"},
		{"tcp", "fulcrum tcp --listen :5432 --server 10.0.0.1:5432|--listen ADDRESS|--server ADDRESS|least_connections or round_robin|--admin ADDRESS"},
		{"http", "fulcrum http --listen :8080 --server 10.0.0.1:80|--health-path PATH|--listen ADDRESS"},
		{"demo", "fulcrum demo [--load]|Ctrl-C|--admin ADDRESS"},
		{"servers", "fulcrum servers list|fulcrum servers upload 10.0.0.3:80|fulcrum servers delete 10.0.0.3:80"},
		{"servers list", "fulcrum servers list [--admin 127.0.0.1:9900]|--json"},
		{"servers upload", "fulcrum servers upload [--pool web]|10.0.0.3:80|--weight|1 to 256|--max-connections N|(default: no limit)"},
		{"listeners", "fulcrum listeners [--admin 127.0.0.1:9900] [--json]|host:port, https://host:port or unix:/path|--token-file FILE|FULCRUM_TOKEN|--ca FILE|--cert FILE|--key FILE"},
		{"top", "fulcrum top [--once]|--once|--json"},
		{"events", "fulcrum events [--follow] [--pool web]|--follow|--limit N|--json"},
		{"explain", "fulcrum explain [--listener http]|[POOL]|--listener NAME"},
		{"log-level", "fulcrum log-level [--admin 127.0.0.1:9900] [--json] [debug|info|warn|error]"},
		{"reload", "fulcrum reload [--dry-run] [--admin 127.0.0.1:9900] [--json]|changes nothing"},
		{"drain", "fulcrum drain [--timeout 30s] [--wait] [--dry-run]|--timeout TIME|(default: the config's shutdown_timeout)"},
		{"undrain", "fulcrum undrain [--dry-run]|--admin ADDRESS"},
		{"servers get", "fulcrum servers get [--pool web] 10.0.0.3:80|ETag"},
		{"servers patch", "fulcrum servers patch [--pool web] [--weight 2]|(default: as it is)|--dry-run|--if-match ETAG"},
		{"servers set", "fulcrum servers patch"},
		{"servers drain", "fulcrum servers drain [--pool web] 10.0.0.3:80|stays in its pool"},
		{"servers undrain", "fulcrum servers undrain [--pool web] 10.0.0.3:80"},
		{"pools", "fulcrum pools list|fulcrum pools drain web"},
		{"pools drain", "fulcrum pools drain [--dry-run] web|--if-match ETAG"},
		{"listeners get", "fulcrum listeners get"},
		{"config", "fulcrum config [--admin 127.0.0.1:9900]|defaults"},
		{"status", "fulcrum status [--admin 127.0.0.1:9900] [--json]"},
		{"servers delete", "fulcrum servers delete [--pool web] [--force] 10.0.0.3:80|--force"},
		{"schema", "fulcrum schema >config.schema.json|$schema"},
		{"completion", "source <(fulcrum completion bash)|fulcrum completion fish | source"},
		{"completion zsh", "source <(fulcrum completion zsh)"},
		{"man", "fulcrum man >/usr/local/share/man/man8/fulcrum.8"},
	} {
		t.Run(c.command, func(t *testing.T) {
			fulcrum(t, append(strings.Fields(c.command), "--help")...).ok(strings.Split(c.parts, "|")...)
		})
	}
	fulcrum(t, "servers").ok("fulcrum servers upload")
}

// A mistake in the command line is exit code 2 and a message that says what is
// allowed, in the words of the command line.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ line, parts string }{
		{"serve", `command "serve" is not known|run, check, doctor, tcp, http, demo, servers`},
		{"help", `command "help" is not known`},
		{"completion sh", `subcommand "sh" is not known|bash, zsh, fish`},
		{"completion bash zsh", `unexpected argument "zsh"|fulcrum completion bash --help`},
		{"man fulcrum", `unexpected argument "fulcrum"|fulcrum man --help`},
		{"schema config.json", `unexpected argument "config.json"|fulcrum schema --help`},
		{"servers add", `subcommand "add" is not known|list, get, upload, patch, delete, drain, undrain`},
		{"--verbose", "not defined: -verbose|the flags of fulcrum are --help, --version"},
		{"run --port 1", "not defined: -port|the flags of fulcrum run are --config, --check, --log-level, --log-format, --help"},
		{"servers --json list", "not defined: -json|the flags of fulcrum servers are --help"},
		{"servers list --pool web", "not defined: -pool|the flags of fulcrum servers list are --admin, --token-file, --ca, --cert, --key, --json, --help"},
		{"run --config", "needs an argument: -config"},
		{"run --check=perhaps", `"perhaps"|-check`},
		{"servers upload --weight heavy 127.0.0.1:1", `"heavy"|-weight`},

		{"run config.json", `unexpected argument "config.json"|fulcrum run --help`},
		{"run --check config.json", `unexpected argument "config.json"`},
		{"check --config x config", `unexpected argument "config"|fulcrum check --help`},
		{"doctor config.json", `unexpected argument "config.json"|fulcrum doctor --help`},
		{"doctor --admin x", "not defined: -admin|the flags of fulcrum doctor are --config, --json, --help"},
		{"doctor --config /nowhere", "fulcrum: /nowhere: cannot open the file: no such file or directory"},
		{"tcp --listen :0 --server 127.0.0.1:1 127.0.0.1:2", `unexpected argument "127.0.0.1:2"|fulcrum tcp --help`},
		{"run help", `unexpected argument "help"|fulcrum run --help`},
		{"demo now", `unexpected argument "now"|fulcrum demo --help`},
		{"servers list web", `unexpected argument "web"|fulcrum servers list --help`},
		{"servers upload", "expected one server's address|got 0 arguments|e.g. fulcrum servers upload "},
		{"servers delete 127.0.0.1:1 --force", "behind the flags|got 2 arguments|e.g. fulcrum servers delete "},

		{"tcp", "--listen and --server must be given; e.g. fulcrum tcp --listen :5432 --server "},
		{"tcp --listen :0", "fulcrum: --server must be given"},
		{"http --server 127.0.0.1:1", "fulcrum: --listen must be given; e.g. fulcrum http --listen "},
		{"tcp --listen nowhere --server 127.0.0.1:1", `--listen: "nowhere" has no port|"host:port" or ":port"`},
		{"tcp --listen= --server=", "2 problems|--listen: missing|--server (number 1): missing"},
		{"tcp --listen :0 --server 127.0.0.1:1 --server 127.0.0.1", `--server (number 2): "127.0.0.1" has no port|"host:port"`},
		{"tcp --listen :0 --server 127.0.0.1:1,127.0.0.1:2", `--server (number 1): |colon`},
		{"tcp --listen :0 --server 127.0.0.1:1 --server http://127.0.0.1:1", "--server (number 2): |is already the address of --server (number 1)"},
		{"http --listen :0 --server https://127.0.0.1:1", "--server (number 1): |TLS to servers is not supported yet"},
		{"http --listen :0 --server 127.0.0.1:1 --algorithm random", `--algorithm: "random" is not known|"least_connections", "round_robin"`},
		{"http --listen :0 --server 127.0.0.1:1 --health-path health", `--health-path: "health" is not allowed|begins with "/"`},
		{"tcp --listen :0 --server 127.0.0.1:1 --health-path /", "not defined: -health-path"},
		{"http --listen :8080 --server 127.0.0.1:1 --admin :8080", `--admin: ":8080" is taken by --listen`},
		{"http --listen :0 --server 127.0.0.1:1 --log-level loud", `--log-level: "loud" is not known; use debug, info, warn or error`},
		{"http --listen :0 --server 127.0.0.1:1 --log-format xml", `--log-format: "xml" is not known; use text, json or auto`},
		{"http --listen x --server y --algorithm z --admin a", "4 problems|--listen: |--server (number 1): |--algorithm: |--admin: "},
		{"demo --admin x", `--admin: "x" has no port`},

		{"servers list --admin x", `--admin: admin address "x"|use host:port, https://host:port or unix:/absolute/path`},
		{"listeners --admin x", `--admin: admin address "x"`},
		{"listeners list", `unexpected argument "list"|fulcrum listeners --help`},
		{"listeners --pool web", "not defined: -pool|the flags of fulcrum listeners are --admin, --token-file, --ca, --cert, --key, --json, --help"},
		{"listeners --token-file /nowhere", "--token-file: open /nowhere: no such file or directory"},
		{"listeners --cert a.pem", "--cert and --key belong together; give both or none"},
		{"listeners --ca a.pem", `--admin: admin address "127.0.0.1:9900" is not https, so there are no certificates; use https://host:port`},
		{"listeners --admin https://127.0.0.1:1 --ca /nowhere", "--admin: read the authorities of the admin listener: open /nowhere"},
		{"http --listen :0 --server 127.0.0.1:1 --admin :9900", `--admin: ":9900" can be reached from elsewhere|use a loopback address`},
		{"events web", `unexpected argument "web"|fulcrum events --help`},
		{"events --limit 0", "--limit: 0 is not allowed; use 1 or more"},
		{"events --limit -1", "--limit: -1 is not allowed; use 1 or more"},
		{"explain a b", "expected one pool's name behind the flags, got 2 arguments"},
		{"log-level debug info", "expected one level behind the flags, got 2 arguments"},
		{"reload config.json", `unexpected argument "config.json"|fulcrum reload --help`},
		{"reload --config x", "not defined: -config|the flags of fulcrum reload are --admin, --token-file, --ca, --cert, --key, --json, --dry-run, --help"},
		{"reload --admin x", `--admin: admin address "x"`},
		{"servers upload --weight 0 127.0.0.1:1", "--weight: 0 is not allowed; use 1 to 256"},
		{"servers upload --weight -3 127.0.0.1:1", "--weight: -3 is not allowed"},
	} {
		t.Run(c.line, func(t *testing.T) {
			o := fulcrum(t, strings.Fields(c.line)...)
			o.refused(exitUsage, strings.Split(c.parts, "|")...)
			for _, place := range []string{"pools[", "listeners[", "admin.address"} {
				if strings.Contains(o.stderr, place) {
					t.Errorf("names a place in a config: %q", o.stderr)
				}
			}
		})
	}
}
