package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(changerEnv); path != "" {
		change(path)
	}
	os.Exit(m.Run())
}

// address is what the tests take for the form of an address: host:port in lower case.
func address(s string) (string, error) {
	if !strings.Contains(s, ":") {
		return "", fmt.Errorf("%q has no port", s)
	}
	return strings.ToLower(s), nil
}

// fresh returns the path of a state file in a directory of the test's own.
func fresh(t testing.TB) string { return filepath.Join(t.TempDir(), "state.json") }

// opened opens a file without the lock.
func opened(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path, address)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// locked opens a file to change it, until the test ends.
func locked(t testing.TB, path string) *File {
	t.Helper()
	f := opened(t, path)
	if err := f.Lock(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Unlock)
	return f
}

// uploading uploads a server to the pool "web".
func uploading(server string, weight int) func(*State) error {
	return func(s *State) error {
		s.Set("web", server, nil, &Settings{Weight: weight})
		return nil
	}
}

// upload does that and records it.
func upload(t testing.TB, f *File, server string, weight int) {
	t.Helper()
	if err := f.Change(uploading(server, weight)); err != nil {
		t.Fatal(err)
	}
}

// parsed returns what a text records.
func parsed(t testing.TB, text string) *State {
	t.Helper()
	s, err := parse([]byte(text), address)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// file returns the text of a file with these records.
func file(records ...string) string {
	return `{"version": 1, "servers": [` + strings.Join(records, ", ") + `]}`
}

// wantRecords checks what a State records: a line for each server, without pool and
// quotes: "a:1 source: config, weight: 5".
func wantRecords(t *testing.T, s *State, want ...string) {
	t.Helper()
	var got []string
	for _, k := range s.keys() {
		var b bytes.Buffer
		s.records[k].encode(&b, k)
		line := strings.NewReplacer("{pool: "+k.pool+", server: "+k.server+",", k.server, "}", "")
		got = append(got, line.Replace(strings.ReplaceAll(b.String(), `"`, "")))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// wantOnDisk checks that the file at path says what s does, and that no temporary one
// is left beside it.
func wantOnDisk(t *testing.T, path string, s *State) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !(errors.Is(err, os.ErrNotExist) && len(s.records) == 0) {
		t.Fatal(err)
	}
	if err == nil && !bytes.Equal(data, s.encode()) {
		t.Fatalf("on disk\n%s\nwant\n%s", data, s.encode())
	}
	if _, err := os.Lstat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a temporary file is left: %v", err)
	}
}

// wantError checks that err is one, wraps is (nil: any) and has the texts in it.
func wantError(t *testing.T, err error, is error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v %q", is, texts)
	}
	if is != nil && !errors.Is(err, is) {
		t.Fatalf("%v, want %v", err, is)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Fatalf("%v, want in it %q", err, text)
		}
	}
}
