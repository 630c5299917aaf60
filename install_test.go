package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shell runs a script in which fulcrum is this program, and returns the lines
// that it prints.
func shell(t *testing.T, name string, args ...string) (lines []string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "fulcrum")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0", "HOME="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil || complaint.Len() > 0 {
		t.Fatalf("%s: %v, stderr %q", name, err, complaint.String())
	}
	return strings.Fields(strings.ReplaceAll(string(out), " ", "_"))
}

// What each shell is asked to complete, and some of what it has to offer.
var completions = []struct {
	line        string
	want, never []string
}{
	{"fulcrum ", []string{"run", "check", "servers", "completion"}, []string{"list", "--help"}},
	{"fulcrum ch", []string{"check"}, []string{"run"}},
	{"fulcrum doctor --", []string{"--config", "--json"}, []string{"--admin"}},
	{"fulcrum servers ", []string{"list", "upload", "delete", "drain", "undrain", "patch", "get"}, []string{"run"}},
	{"fulcrum pools drain --", []string{"--dry-run", "--if-match"}, []string{"--pool"}},
	{"fulcrum listeners ", []string{"get"}, []string{"run"}},
	{"fulcrum completion z", []string{"zsh"}, []string{"bash"}},
	{"fulcrum servers upload --", []string{"--pool", "--weight", "--admin"}, []string{"--listen"}},
	{"fulcrum run --log", []string{"--log-level"}, []string{"--config"}},
	{"fulcrum http --listen 127.0.0.1:0 --serv", []string{"--server"}, []string{"--listen"}},
}

func completes(t *testing.T, complete func(t *testing.T, line string) []string) {
	for _, c := range completions {
		t.Run(c.line, func(t *testing.T) {
			got := complete(t, c.line)
			for _, word := range c.want {
				if !slices.Contains(got, word) {
					t.Errorf("does not offer %q, but %q", word, got)
				}
			}
			for _, word := range c.never {
				if slices.Contains(got, word) {
					t.Errorf("offers %q", word)
				}
			}
		})
	}
}

func TestBashCompletes(t *testing.T) {
	const script = `source <(fulcrum completion bash)
complete -p fulcrum >/dev/null
COMP_LINE=$1 COMP_POINT=${#1}
COMP_WORDS=($1)
[[ $1 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_fulcrum
printf '%s\n' "${COMPREPLY[@]}"`
	completes(t, func(t *testing.T, line string) []string { return shell(t, "bash", "-euc", script, "bash", line) })
}

// zsh completes only where somebody types, so what it would do with the words is
// done here.
func TestZshCompletes(t *testing.T) {
	const script = `compdef() { [[ "$*" == "_fulcrum fulcrum" ]] }
_describe() { print -l -- ${(M)${(P)2}:#$words[CURRENT]*} }
_files() { }
source <(fulcrum completion zsh)
words=("${(@s: :)1}") CURRENT=$#words
_fulcrum`
	completes(t, func(t *testing.T, line string) (names []string) {
		for _, found := range shell(t, "zsh", "-fc", script, "zsh", line) {
			name, says, _ := strings.Cut(found, ":")
			if !strings.HasPrefix(name, "--") && says == "" {
				t.Errorf("does not say what %q is for", name)
			}
			names = append(names, name)
		}
		return names
	})
}

func TestFishCompletes(t *testing.T) {
	const script = `fulcrum completion fish | source; complete -C $argv[1]`
	completes(t, func(t *testing.T, line string) []string { return shell(t, "fish", "-c", script, line) })
	if got := shell(t, "fish", "-c", "touch here.json; "+script, "fulcrum run --config he"); !slices.Contains(got, "here.json") {
		t.Errorf("offers %q for a file", got)
	}
}

// A word that only a shell would write does nothing else than to complete.
func TestCompletionRunsNothing(t *testing.T) {
	if got := shell(t, "bash", "-c", "fulcrum run --config nothing.json --generate-bash-completion"); len(got) != 0 {
		t.Errorf("printed %q", got)
	}
}

func TestSchema(t *testing.T) {
	o := fulcrum(t, "schema")
	o.ok()
	var schema struct {
		Schema     string `json:"$schema"`
		Properties map[string]any
	}
	if err := json.Unmarshal([]byte(o.stdout), &schema); err != nil || !strings.Contains(schema.Schema, "2020-12") || schema.Properties["pools"] == nil {
		t.Errorf("printed %+v, error %v", schema, err)
	}
	path := written(t, `{"$schema": "./config.schema.json", "listeners": [{"name": "a", "protocol": "tcp", "address": ":0", "pool": "p"}], "pools": [{"name": "p"}]}`)
	fulcrum(t, "check", "-c", path).ok("is valid")
	path = written(t, `{"$schema": 1, "listeners": [{"name": "a", "protocol": "tcp", "address": ":0", "pool": "p"}], "pools": [{"name": "p"}]}`)
	fulcrum(t, "check", "-c", path).refused(exitUsage, `["$schema"]: found the number 1; use the address of a JSON Schema`)
}

// The page is one that groff has nothing to say against.
func TestMan(t *testing.T) {
	o := fulcrum(t, "man")
	o.ok(".TH", "fulcrum", "EXIT STATUS", "SIGUSR1", "servers", "log-level", "fulcrum tcp --listen")
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("groff is not installed")
	}
	cmd := exec.Command("groff", "-man", "-Tascii", "-ww")
	cmd.Stdin = strings.NewReader(o.stdout)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if out, err := cmd.Output(); err != nil || complaint.Len() > 0 || len(out) < 5000 {
		t.Errorf("%v: %s; %d bytes of text", err, complaint.String(), len(out))
	}
}
