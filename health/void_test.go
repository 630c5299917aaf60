package health

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// A machine that is out of descriptors learns nothing about its servers: they
// stay as they are, and that is said once.
func TestACheckThatCouldNotBeMadeChangesNothing(t *testing.T) {
	inVirtualTime(t, tenSeconds, func(t *testing.T, w *world, p *puppet) {
		w.upload("healthy")
		p.set("not healthy", true)
		w.upload("not healthy")
		pass(60 * time.Second)
		before := w.status("healthy").Health
		w.log.take()

		p.cannot(true)
		w.upload("new")
		pass(200 * time.Second)
		if h := w.status("healthy").Health; h.Healthy != true || h.At.Before(before.At) {
			t.Errorf("the healthy server became %+v", h)
		}
		if w.status("not healthy").Health.Healthy || w.status("new").Health.Checked() {
			t.Error("a server changed its health although none could be checked")
		}
		if said := w.log.take(); len(said) != 3 {
			t.Errorf("said %d times for 3 servers: %q", len(said), said)
		}

		p.cannot(false)
		pass(20 * time.Second)
		if !w.status("new").Health.Healthy {
			t.Error("the new server is not healthy after checks are possible again")
		}
		w.log.take()
		p.cannot(true)
		pass(20 * time.Second)
		if said := w.log.take(); len(said) != 3 {
			t.Errorf("the second time said %d times for 3 servers: %q", len(said), said)
		}
	})
}

func (p *puppet) cannot(void bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.void = void
}

func TestWantOfResourcesIsToldFromAFailure(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", errno)}
	}
	for errno, void := range map[syscall.Errno]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.ENOBUFS: true, syscall.ENOMEM: true, syscall.EADDRNOTAVAIL: true,
		syscall.ECONNREFUSED: false, syscall.EHOSTUNREACH: false, syscall.ECONNRESET: false,
	} {
		if f := describe(Options{}, "connected", dial(errno)); f.void != void || f.passed || f.reason == "" {
			t.Errorf("%v: %+v, want void %t", errno, f, void)
		}
	}
}
