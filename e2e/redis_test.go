package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// tcpOnly is a config with a tcp listener "db" in front of servers.
func tcpOnly(servers ...string) object {
	return object{
		"listeners": []object{{"name": "db", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "db"}},
		"pools":     []object{{"name": "db", "servers": servers}},
	}
}

// httpOnly is a config with an http listener "web" in front of servers.
func httpOnly(servers ...string) object {
	return object{
		"listeners": []object{{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"}},
		"pools":     []object{{"name": "web", "servers": servers}},
	}
}

// TestRedisBehindFlags: redis-cli talks to redis through `fulcrum tcp`, which
// needs no config file.
func TestRedisBehindFlags(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	r := w.redis("one")
	b := w.balancerOf(w.start(w.command(raceBinary, "tcp", "--log-format", "text",
		"--listen", "127.0.0.1:0", "--server", r.address, "--admin", "127.0.0.1:0")), 1)
	db := b.listeners["tcp"]
	for _, step := range []struct{ command, want string }{
		{"PING", "PONG\n"},
		{"SET greeting hello", "OK\n"},
		{"GET greeting", "hello\n"},
		{"STRLEN greeting", "5\n"},
	} {
		if got := w.redisCLI(db, strings.Fields(step.command)...); got != step.want {
			t.Errorf("%s: %q, want %q", step.command, got, step.want)
		}
	}
	var commands strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&commands, "SET key%d value%d\r\n", i, i)
	}
	host, port, err := net.SplitHostPort(db)
	w.must(err)
	pipe := w.command("redis-cli", "-h", host, "-p", port, "--pipe")
	pipe.Stdin = strings.NewReader(commands.String())
	p := w.start(pipe)
	w.await("redis-cli --pipe has ended", p.ended)
	if out := p.stdout.String(); p.code() != 0 || !strings.Contains(out, "errors: 0, replies: 10000") {
		t.Errorf("redis-cli --pipe: exit code %d, %q", p.code(), out)
	}
	if got := w.redisCLI(db, "DBSIZE"); got != "10002\n" {
		t.Errorf("DBSIZE is %q, want 10002", got)
	}
}

// TestPipelinedCommandsAreByteExact: 10,000 commands of random bytes are sent
// without waiting; what comes back is compared to the last byte.
func TestPipelinedCommandsAreByteExact(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	b := w.balance(tcpOnly(w.redis("one").address))
	random := rand.NewChaCha8([32]byte{1})
	var commands, want bytes.Buffer
	for i := range 10000 {
		word := make([]byte, i%300)
		random.Read(word)
		fmt.Fprintf(&commands, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", len(word), word)
		fmt.Fprintf(&want, "$%d\r\n%s\r\n", len(word), word)
	}
	conn := w.dial(b.listeners["db"])
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(commands.Bytes())
		sent <- err
	}()
	got := make([]byte, want.Len())
	_, err := io.ReadFull(conn, got)
	w.must(err)
	w.must(receive(w, "all commands are sent", sent))
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("the answers are not what was sent")
	}
}

// TestSubscribersStayConnected: clients that only listen get each message while
// other connections come and go.
func TestSubscribersStayConnected(t *testing.T) {
	w := newWorld(t, 20*time.Second)
	b := w.balance(tcpOnly(w.redis("one").address))
	host, port, err := net.SplitHostPort(b.listeners["db"])
	w.must(err)
	subscriber := w.start(w.command("redis-cli", "-h", host, "-p", port, "SUBSCRIBE", "news"))
	monitor := w.start(w.command("redis-cli", "-h", host, "-p", port, "MONITOR"))
	says := func(p *process, text string) {
		w.eventually("redis-cli prints "+text, func() bool { return strings.Contains(p.stdout.String(), text) })
	}
	says(subscriber, "subscribe")
	says(monitor, "OK")
	for i := range 20 {
		message := fmt.Sprintf("message-%d.", i)
		if got := w.redisCLI(b.listeners["db"], "PUBLISH", "news", message); got != "1\n" {
			t.Fatalf("PUBLISH reached %q subscribers, want 1", got)
		}
		says(subscriber, message)
		says(monitor, message)
	}
	w.eventually("only the subscriber and the monitor are connected", func() bool { return fmt.Sprint(active(b, "db")) == "[2]" })
}
