package handover

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ends returns the two ends in one process.
func ends(t *testing.T) (a, b *Link) {
	t.Helper()
	a, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = newLink(file); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Link{a, b} {
		l.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { l.Close() })
	}
	return a, b
}

// open returns a descriptor of a file with that text.
func open(t *testing.T, text string) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// Messages of all sizes arrive whole and in order, each with its own descriptors.
func TestMessagesArrive(t *testing.T) {
	a, b := ends(t)
	big := bytes.Repeat([]byte("0123456789"), 1<<20)
	sent := []*Message{
		{Kind: "empty"},
		{Kind: "body", Body: json.RawMessage(`{"x":1}`)},
		{Kind: "files", Descriptors: []int{open(t, "one"), open(t, "two")}},
		{Kind: "more files", Descriptors: []int{open(t, "three")}, Parts: [][]byte{nil, big, []byte("end")}},
		{Kind: "many", Descriptors: slicesOf(open(t, "many"), MaxDescriptors)},
		{Kind: "last", Body: json.RawMessage(`"` + strings.Repeat("a", 1<<20) + `"`)},
	}
	go func() {
		for _, m := range sent {
			if err := a.Send(m); err != nil {
				t.Error(err)
			}
		}
	}()
	contents := map[string]string{"files": "one two", "more files": "three", "many": strings.Repeat("many ", MaxDescriptors-1) + "many"}
	for _, want := range sent {
		got, err := b.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind != want.Kind || !bytes.Equal(got.Body, want.Body) || len(got.Parts) != len(want.Parts) {
			t.Errorf("got %q with %d bytes and %d parts, want %q", got.Kind, len(got.Body), len(got.Parts), want.Kind)
		}
		for i := range got.Parts {
			if !bytes.Equal(got.Parts[i], want.Parts[i]) {
				t.Errorf("%q: part %d differs", want.Kind, i)
			}
		}
		var texts []string
		for _, fd := range got.Descriptors {
			b := make([]byte, 100)
			n, _ := unix.Pread(fd, b, 0)
			texts = append(texts, string(b[:n]))
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Error("a descriptor would be inherited by children")
			}
		}
		if got := strings.Join(texts, " "); got != contents[want.Kind] {
			t.Errorf("%q: the files say %q", want.Kind, got)
		}
		got.Close()
	}
	a.Close()
	if _, err := b.Receive(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func slicesOf(fd, n int) (all []int) {
	for range n {
		all = append(all, fd)
	}
	return all
}

// What is no message, or too large a one, is refused, and no descriptor is left open.
func TestWhatIsNoMessageIsRefused(t *testing.T) {
	prefix := func(length, descriptors byte) string {
		return string(magic[:]) + "\x00\x00\x00" + string(length) + "\x00\x00\x00" + string(descriptors)
	}
	for name, bytes := range map[string]string{
		"not one":          "GET / HTTP/1.1\r\n\r\n",
		"cut short":        prefix(100, 0) + `{"kind":`,
		"a part of it":     "ful",
		"not JSON":         prefix(3, 0) + "xxx",
		"too long":         string(magic[:]) + "\x7f\xff\xff\xff\x00\x00\x00\x00",
		"no descriptors":   prefix(2, 1) + "{}",
		"a long part":      prefix(30, 0) + `{"kind":"x","parts":[99999999]`,
		"a negative part":  prefix(25, 0) + `{"kind":"x","parts":[-1]}`,
		"a long part, too": prefix(31, 0) + `{"kind":"x","parts":[99999999]}`,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := ends(t)
			a.conn.Write([]byte(bytes))
			a.conn.CloseWrite()
			m, err := b.Receive()
			if err == nil || err == io.EOF {
				t.Errorf("received %+v, error %v", m, err)
			}
		})
	}
	a, b := ends(t)
	for _, m := range []*Message{
		{Kind: "x", Descriptors: slicesOf(0, MaxDescriptors+1)},
		{Kind: "x", Parts: [][]byte{make([]byte, maxParts+1)}},
		{Kind: "x", Parts: make([][]byte, maxCount+1)},
		{Kind: "x", Body: json.RawMessage("{")},
	} {
		if err := a.Send(m); err == nil {
			t.Error("too much is sent")
		}
	}
	before := descriptors(t)
	fd := open(t, "lost")
	a.conn.WriteMsgUnix([]byte(prefix(2, 0)+"{}"), unix.UnixRights(fd, fd), nil)
	if _, err := b.Receive(); err == nil {
		t.Error("descriptors that were not announced are taken")
	}
	if n := descriptors(t); n != before+1 { // fd itself
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestUnknownMembersAreNotUnderstood(t *testing.T) {
	var into struct{ A int }
	for body, want := range map[string]bool{`{"a":1}`: true, `{"a":1,"b":2}`: false, `{"a":"1"}`: false, ``: false} {
		m := &Message{Kind: "x", Body: json.RawMessage(body)}
		if err := m.Decode(&into); (err == nil) != want {
			t.Errorf("%s: error %v", body, err)
		}
	}
}

// A child finds its end, once, and nobody else does.
func TestAChildInherits(t *testing.T) {
	if os.Getenv("HANDOVER_CHILD") == "1" {
		l, err := Inherited()
		if err != nil || l == nil {
			t.Fatal(l, err)
		}
		if again, err := Inherited(); again != nil || err != nil {
			t.Error("there is another one")
		}
		m, err := l.Receive()
		if err != nil {
			t.Fatal(err)
		}
		l.Tell("answer", m.Kind)
		return
	}
	if l, err := Inherited(); l != nil || err != nil {
		t.Error("an end that nobody gave")
	}
	own, childs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	command := exec.Command(os.Args[0], "-test.run=^TestAChildInherits$")
	command.Env = append(os.Environ(), "HANDOVER_CHILD=1")
	if err := Start(command, childs); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	childs.Close()
	own.SetDeadline(time.Now().Add(20 * time.Second))
	if err := own.Tell("question", nil); err != nil {
		t.Fatal(err)
	}
	m, err := own.Receive()
	var text string
	if err != nil || m.Decode(&text) != nil || text != "question" {
		t.Errorf("answered %+v, error %v", m, err)
	}
	if _, err := own.Receive(); err != io.EOF {
		t.Errorf("after its end: %v", err)
	}
	for _, wrong := range []string{"x", "1", "999"} {
		t.Setenv(variable, wrong)
		if _, err := Inherited(); err == nil {
			t.Errorf("%q is taken for a descriptor", wrong)
		}
	}
}
