package loop

import (
	"errors"

	"golang.org/x/sys/unix"
)

// reserve is a descriptor that a loop holds in order to give it up: a connection
// is accepted only while it is there, so that when descriptors run out there is
// still one to connect to a server with. The client whose turn is last is served
// then, and those behind it wait in the kernel's queue.
type reserve struct{ fd int } // 0: not there

// hold takes the descriptor if it is not there, and reports whether it is.
func (r *reserve) hold(of int) bool {
	if r.fd == 0 {
		fd, err := unix.FcntlInt(uintptr(of), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return false
		}
		r.fd = fd
	}
	return true
}

// giveUp frees the descriptor if that may help against an error.
func (r *reserve) giveUp(err error) bool {
	if r.fd == 0 || !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return false
	}
	rawClose(r.fd)
	r.fd = 0
	return true
}
