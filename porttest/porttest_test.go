package porttest

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// The address refuses connections whenever the test does not listen on it, and nobody
// who asks for any port gets it.
func TestClosed(t *testing.T) {
	address := Closed(t)
	for range 3 {
		if c, err := net.Dial("tcp", address); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("connection %v, error %v", c, err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
	for range 20_000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if l.Addr().String() == address {
			t.Fatal("somebody else has got it")
		}
	}
}
