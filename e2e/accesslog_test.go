package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// A record is a line of the access log. What is nil was left out.
type record struct {
	Time       time.Time
	Listener   string
	Client     string
	Server     *string
	Pool       *string
	SNI        *string
	Tried      *int64
	ToUpstream *int64   `json:"to_upstream"`
	ToClient   *int64   `json:"to_client"`
	ConnectMS  *float64 `json:"connect_ms"`
	FirstByte  *float64 `json:"first_byte_ms"`
	DurationMS *float64 `json:"duration_ms"`
	Ended      string
}

// accessLog reads the records of tcp listeners at a path.
func (w *world) accessLog(path string) []record {
	w.Helper()
	return recordsAt[record](w, path)
}

// recordsAt reads the records at a path, none if there is no file. Members that
// are not known are a mistake.
func recordsAt[R any](w *world, path string) (all []R) {
	w.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	w.must(err)
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // is being written
		}
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		var r R
		if err := decoder.Decode(&r); err != nil {
			w.Fatalf("the access log has the line %q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// awaitRecord waits for the only record of a listener's connection from a client.
func (w *world) awaitRecord(path, listener string, client net.Addr) (found record) {
	w.Helper()
	w.eventually(fmt.Sprintf("the access log has the connection of %s to %s", client, listener), func() bool {
		n := 0
		for _, r := range w.accessLog(path) {
			if r.Listener == listener && r.Client == client.String() {
				found = r
				n++
			}
		}
		if n > 1 {
			w.Fatalf("%d records of one connection", n)
		}
		return n == 1
	})
	return found
}

// TestReopenAccessLog: after logrotate has renamed the file and sent SIGUSR1 the
// records go into a new one, and none is lost.
func TestReopenAccessLog(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	log := filepath.Join(w.TempDir(), "access.log")
	config := tcpOnly(w.echoServer())
	config["listeners"].([]object)[0]["access_log"] = log
	b := w.balance(config)
	once := func() net.Addr {
		conn := w.dial(b.listeners["db"])
		wantEcho(w, conn, "hello")
		conn.Close()
		return conn.LocalAddr()
	}
	w.awaitRecord(log, "db", once())
	w.must(os.Rename(log, log+".1"))
	w.awaitRecord(log+".1", "db", once())
	b.signal(syscall.SIGUSR1)
	w.eventually("there is a new file", func() bool { return there(log) })
	w.awaitRecord(log, "db", once())
	if n := len(w.accessLog(log + ".1")); n != 2 {
		t.Errorf("the old file has %d records, want 2", n)
	}
	if n := len(w.accessLog(log)); n != 1 {
		t.Errorf("the new file has %d records, want 1", n)
	}
}

// TestAccessLogOnStdout: records of connections with a PROXY header have the
// client that it names, and the messages stay on stderr.
func TestAccessLogOnStdout(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	config := tcpOnly(w.nginx("one").address)
	listener := config["listeners"].([]object)[0]
	listener["access_log"] = "stdout"
	listener["accept_proxy"] = object{"from": []string{"127.0.0.0/8"}}
	b := w.balance(config)
	conn := w.dial(b.listeners["db"])
	w.askVia(conn, "PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n")
	conn.Close()
	line := regexp.MustCompile(`^\{"time":"[^"]+Z","listener":"db","client":"203\.0\.113\.7:4711","server":"[^"]+","pool":"db","tried":1,.*"ended":"[a-z]+_closed"\}\n$`)
	w.eventually("stdout has the record and nothing else", func() bool { return line.MatchString(b.stdout.String()) })
}
