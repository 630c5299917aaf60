package admin

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const whole = beginning + `:"a:1"}`

// answered reads one answer of the listener from conn.
func answered(t *testing.T, conn net.Conn) int {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestAChangeSurvivesItsClient(t *testing.T) {
	w := start(t)
	w.fake.upload = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond): // long enough for the hang-up to be noticed
			return nil
		}
	}
	conn := w.dial(whole)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if status := answered(t, conn); status != 201 {
		t.Errorf("status %d, want 201", status)
	}
}

func TestStopLetsRequestsFinish(t *testing.T) {
	w := start(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	w.fake.upload = func(context.Context) error {
		close(begun)
		<-finish
		return nil
	}
	conn := w.dial(whole)
	<-begun
	stopped := make(chan error)
	go func() { stopped <- w.Stop(soon(t)) }()
	<-w.served // nothing more is accepted
	if other, err := net.Dial("tcp", w.Addr().String()); err == nil {
		other.Close()
		t.Error("a stopping listener accepts")
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped before the request had ended: %v", err)
	default:
	}
	close(finish)
	if status := answered(t, conn); status != 201 {
		t.Errorf("status %d, want 201", status)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopDoesNotWaitForSilence(t *testing.T) {
	w := start(t)
	w.dial("")
	idle := w.dial("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	answered(t, idle) // accepted after the silent one
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestStopCutsOffWhatTakesTooLong(t *testing.T) {
	w := start(t)
	begun := make(chan struct{})
	var cause error
	w.fake.upload = func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		cause = ctx.Err()
		return cause
	}
	w.dial(whole)
	<-begun
	// Another request's body is awaited, which the listener says by a 100.
	waiting := w.dial("POST /upload_server HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 16\r\n\r\n")
	if status := answered(t, waiting); status != 100 {
		t.Fatalf("status %d, want 100", status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Stop(ctx); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "did not end") ||
		!strings.Contains(err.Error(), w.Addr().String()) {
		t.Errorf("Stop says %v", err)
	}
	if cause != context.Canceled { // Stop has waited, so this is no race
		t.Errorf("the change ended with %v", cause)
	}
	if err := w.Stop(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop says %v the second time", err)
	}
}

func TestStopClosesTheAddressEvenIfNeverStarted(t *testing.T) {
	l := bound(t, Options{Controller: &fake{}})
	if err := l.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	again, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestConnectionsAreBounded(t *testing.T) {
	w := start(t)
	const ask = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	var open []net.Conn
	for range maxConnections {
		conn := w.dial(ask)
		if status := answered(t, conn); status != 200 {
			t.Fatalf("status %d", status)
		}
		open = append(open, conn)
	}
	more := w.dial(ask)
	more.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := more.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
		t.Fatalf("connection %d was served: %d bytes, %v", maxConnections+1, n, err)
	}
	open[0].Close()
	more.SetReadDeadline(time.Now().Add(5 * time.Second))
	if status := answered(t, more); status != 200 {
		t.Errorf("status %d", status)
	}
}

// Nothing that a Controller does keeps Stop from returning, even when the one
// slot is taken and no Accept is under way that closing could end.
func TestStopDoesNotWaitForever(t *testing.T) {
	w := start(t, func(l *Listener) { l.bounded.slots = make(chan struct{}, 1) })
	begun, finish := make(chan struct{}), make(chan struct{})
	defer close(finish)
	w.fake.upload = func(context.Context) error {
		close(begun)
		<-finish
		return nil
	}
	w.dial(whole)
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Stop(ctx); err == nil || !strings.Contains(err.Error(), "1 requests did not end within 1s") {
		t.Errorf("Stop says %v", err)
	}
}

func isTimeout(err error) bool {
	var timedOut net.Error
	return errors.As(err, &timedOut) && timedOut.Timeout()
}
