package systemd

import (
	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// A Socket is one that the service manager has opened for this process, by
// sd_listen_fds(3).
type Socket struct {
	Name       string // FileDescriptorName= of its unit, else the unit's name
	Descriptor int    // is the caller's
}

// Sockets returns those that there are, once: afterwards there are none, for children
// neither.
func Sockets() (all []Socket, err error) {
	for _, file := range activation.Files(true) {
		fd, failed := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		name := file.Name()
		file.Close()
		if failed != nil {
			err = failed
			continue
		}
		all = append(all, Socket{name, fd})
	}
	if err != nil {
		for _, s := range all {
			unix.Close(s.Descriptor)
		}
		return nil, err
	}
	return all, nil
}
