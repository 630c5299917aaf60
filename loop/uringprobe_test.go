package loop

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where the kernel has no io_uring for this process it is said what it refuses,
// and nothing stays open.
func TestAProbeSaysWhatIsRefused(t *testing.T) {
	startUring(t)
	for _, story := range []struct {
		call  uint32
		wants string
	}{
		{unix.SYS_IO_URING_SETUP, "create an io_uring instance"},
		{unix.SYS_IO_URING_REGISTER, "register io_uring's buffers"},
		{unix.SYS_SOCKETPAIR, "create a pair of sockets"},
	} {
		before := descriptors(t)
		refused := make(chan error)
		go func() {
			runtime.LockOSThread() // and ends with the goroutine, as the filter's
			if err := refuseCall(story.call); err != nil {
				t.Error(err)
			}
			refused <- probe()
		}()
		err := <-refused
		if !errors.Is(err, unix.EPERM) || !strings.HasPrefix(err.Error(), story.wants+": ") {
			t.Errorf("said %q; want %q and why", err, story.wants)
		}
		if n := descriptors(t); n != before {
			t.Errorf("%d descriptors are open, %d before", n, before)
		}
	}
}

// refuseCall has a system call answer EPERM on this thread from now on.
func refuseCall(number uint32) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0)
}
