package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// work lets a scenario's worker do units and close; it returns the first error.
func work(t *testing.T, sc scenario, units int, targets ...string) error {
	t.Helper()
	w := sc.newWorker(&dialer{targets: targets, deadline: soon()})
	for range units {
		if size, err := w.work(); err != nil || size <= 0 {
			return errors.Join(err, w.close())
		}
	}
	return w.close()
}

// What the origin does and what a worker expects fit together.
func TestEveryScenarioWorksWithoutAProxy(t *testing.T) {
	for _, sc := range scenarios(5000) {
		t.Run(sc.Name, func(t *testing.T) {
			o := startOrigin(t, sc.Mode)
			if err := work(t, sc, 7, o.addresses()...); err != nil {
				t.Error(err)
			}
			if err := o.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whatever a proxy gets wrong shows, at the client or at the origin.
func TestAProxyThatSpoilsBytesIsNoticed(t *testing.T) {
	spoilAt := func(at int) func(io.Reader) io.Reader {
		return func(r io.Reader) io.Reader { return &spoil{from: r, at: at} }
	}
	cut := func(at int64) func(io.Reader) io.Reader {
		return func(r io.Reader) io.Reader { return io.LimitReader(r, at) }
	}
	add := func(text string) func(io.Reader) io.Reader {
		return func(r io.Reader) io.Reader { return io.MultiReader(strings.NewReader(text), r) }
	}
	const head = 200 // an answer's head is shorter
	for _, test := range []struct {
		name, scenario     string
		toClient, toServer func(io.Reader) io.Reader
	}{
		{"a byte of the echo changed", "tcp-echo-1", spoilAt(100), nil},
		{"a byte of the message changed", "tcp-connect", nil, spoilAt(63)},
		{"an echo cut short", "tcp-echo-1", cut(70), nil},
		{"an echo too many", "tcp-echo-1", add(string(pattern[:64])), nil},
		{"a byte changed on the way to the client", "tcp-down-1", spoilAt(5), nil},
		{"a byte lost on the way to the client", "tcp-down-1", cut(10), nil},
		{"a byte changed on the way to the server", "tcp-up-16", nil, spoilAt(300_000)},
		{"the rest lost on the way to the server", "tcp-up-16", nil, cut(300_000)},
		{"a byte of a body changed", "http-16KiB-64", spoilAt(head + 5000), nil},
		{"a body cut short", "http-1MiB-64", cut(head + 5000), nil},
		{"a byte before the answer", "http-128B-64", add("\n"), nil},
		{"a byte of a status changed", "http-128B-64", spoilAt(9), nil},
		{"a byte of a posted body changed", "http-post", nil, spoilAt(head + 9000)},
		{"a byte of a path changed", "http-128B-64", nil, spoilAt(5)},
		{"the second body of a pair changed", "http-128B-64", spoilAt(head + 200), nil},
		{"an answer closed too late", "http-close", func(r io.Reader) io.Reader { return io.MultiReader(r, strings.NewReader("more")) }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			sc := named(t, test.scenario)
			o := startOrigin(t, sc.Mode)
			broken := startProxy(t, o.addresses()[0], test.toClient, test.toServer)
			if err := work(t, sc, 4, broken); err == nil {
				t.Error("the worker noticed nothing")
			} else {
				t.Log(err)
			}
		})
	}
}

// Bytes behind the last answer show also when they come after it was read.
func TestAnAnswerAfterTheLastIsNoticed(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	w := named(t, "http-close").newWorker(nil).(*httpWorker)
	w.conn = client
	var serving sync.WaitGroup
	serving.Go(func() {
		_, _ = server.Read(make([]byte, maxHead))
		_, _ = server.Write(answers["/128"][1])
		_, _ = server.Write([]byte("more"))
	})
	if _, err := w.work(); err == nil || !strings.Contains(err.Error(), "4 bytes") {
		t.Errorf("got %v, want the surplus", err)
	}
	serving.Wait()
}

// The origin's verdict counts even if a proxy tells the client that all is well.
func TestTheOriginKeepsTheFirstWrongInput(t *testing.T) {
	o := startOrigin(t, modeHTTP)
	w := named(t, "http-128B-64").newWorker(&dialer{targets: o.addresses(), deadline: soon()}).(*httpWorker)
	w.request = []byte("DELETE /128 HTTP/1.1\r\nHost: bench.test\r\n\r\n")
	if _, err := w.work(); err == nil {
		t.Error("a DELETE was answered")
	}
	if err := o.close(); err == nil || !strings.Contains(err.Error(), "DELETE /128") {
		t.Errorf("close returned %v, want the request line", err)
	}
}

func TestUnknownModesAreRefused(t *testing.T) {
	_, err := newOrigin("smtp", 1)
	if err == nil || !strings.Contains(err.Error(), "echo, source, sink or http") {
		t.Errorf("got %v, want the modes that exist", err)
	}
}

// After an error the next unit begins on a new connection.
func TestAWorkerGoesOnAfterAnError(t *testing.T) {
	o := startOrigin(t, modeEcho)
	w := named(t, "tcp-echo-1").newWorker(&dialer{targets: o.addresses(), deadline: soon()}).(*echoWorker)
	if _, err := w.work(); err != nil {
		t.Fatal(err)
	}
	w.conn.Close()
	if _, err := w.work(); err == nil {
		t.Error("worked on a closed connection")
	}
	if _, err := w.work(); err != nil {
		t.Errorf("after an error: %v", err)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}
