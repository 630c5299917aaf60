package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/admin/client"
)

func TestDrainCommands(t *testing.T) {
	at := balancer(t, `{"name": "web"}`)
	ask := func(command string, args ...string) outcome {
		t.Helper()
		return fulcrum(t, append([]string{command, "--admin", at}, args...)...)
	}
	ask("drain", "--dry-run").ok("would be draining until ", " (30s); in flight: nothing\n")
	ask("undrain").ok("not draining; in flight: nothing\n")
	ask("drain").ok("draining until ", " (30s); in flight: nothing\n")
	ask("drain", "--timeout", "90m").ok(" (1h30m0s); in flight: nothing\n")
	ask("drain", "--timeout", "1h", "--wait").ok(" (1h0m0s); in flight: nothing\ndraining until ")
	ask("undrain", "--dry-run").ok("would be not draining")

	var answer admin.DrainAnswer
	o := ask("drain", "--timeout", "1h", "--wait", "--json")
	o.ok()
	if err := json.Unmarshal([]byte(o.stdout), &answer); err != nil || !answer.Draining || answer.DryRun || time.Until(*answer.Deadline) < 50*time.Minute {
		t.Errorf("--json printed %s, error %v", o.stdout, err)
	}
	ask("undrain", "--json").ok(`"draining": false`, `"deadline": null`, `"connections": 0`)

	ask("drain", "--timeout", "-1s").refused(exitUsage, `"timeout" is "-1s"`, "0s to 720h", "400 Bad Request")
	ask("drain", "--timeout", "soon").refused(exitUsage, `"soon"`)
	ask("drain", "--wait", "--dry-run").refused(exitUsage, "exclude each other")
	ask("drain", "now").refused(exitUsage, `unexpected argument "now"`)
	ask("undrain", "now").refused(exitUsage, `unexpected argument "now"`)
	fulcrum(t, "drain", "--admin", "127.0.0.1:1").refused(exitFailed, "no admin listener answers")
}

// drain --wait comes back when the last connection is closed, by itself or at the
// deadline, and fails when somebody ends the drain.
func TestDrainWaits(t *testing.T) {
	origin := listen(t)
	at := balancer(t, fmt.Sprintf(`{"name": "web", "health": false, "servers": [%q]}`, origin.Addr()))
	api, err := client.New(client.Options{Address: at})
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := api.Listeners(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// held is a client whose request is not answered.
	held := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", listeners[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		server, err := origin.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return conn
	}
	waits := func(timeout string) <-chan outcome {
		ended := make(chan outcome, 1)
		go func() {
			var stdout, stderr bytes.Buffer
			code := run([]string{"fulcrum", "drain", "--admin", at, "--timeout", timeout, "--wait"}, &stdout, &stderr)
			ended <- outcome{t, code, stdout.String(), stderr.String()}
		}()
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			switch now, err := api.Status(t.Context()); {
			case err != nil || time.Now().After(end):
				t.Fatalf("%+v, error %v", now, err)
			case now.Draining:
				return ended
			}
		}
	}
	const before, after = "in flight: 1 connection, 1 request", "in flight: nothing\n"
	conn := held()
	ended := waits("1h")
	conn.Close()
	(<-ended).ok(before, after)

	conn = held()
	fulcrum(t, "drain", "--admin", at, "--timeout", "100ms", "--wait").ok(before, after)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("still open")
	}

	fulcrum(t, "undrain", "--admin", at).ok("not draining")
	held()
	ended = waits("1h")
	fulcrum(t, "undrain", "--admin", at).ok("not draining; " + before)
	if o := <-ended; o.code != exitFailed || o.stderr != "fulcrum: somebody has ended the drain\n" {
		t.Errorf("exit code %d, stderr %q", o.code, o.stderr)
	}
}
