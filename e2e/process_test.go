package e2e_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxOutput is how much of a process's output is kept, the first part of it.
const maxOutput = 8 << 20

// output collects what a process writes, and may be read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b[:min(len(b), maxOutput-o.text.Len())])
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// tail is the end of the output, for a message.
func (o *output) tail() string {
	const most = 8 << 10
	text := o.String()
	if len(text) > most {
		text = "…" + text[len(text)-most:]
	}
	return text
}

// A process is a program that the test started.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{} // closed when it has ended
	err            error         // how; to be read once ended is closed
	silent         bool          // its stderr is not shown when the test fails
}

// program finds a program; nginx and redis-server live in sbin on some systems.
func (w *world) program(name string) string {
	w.Helper()
	for _, folder := range []string{"", "/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(folder + name); err == nil {
			return path
		}
	}
	w.Fatalf("%s is not installed; scripts/test installs what the tests need", name)
	return ""
}

// command prepares a program that does not outlive the test.
func (w *world) command(name string, args ...string) *exec.Cmd {
	w.Helper()
	cmd := exec.Command(w.program(name), args...)
	// A group of its own, so that its children can be ended with it; and the
	// kernel ends it should the test die without a word.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	// The race detector would have a program wait a second before its end.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// start runs a prepared program. Output goes to the process's buffers unless the
// command says otherwise.
func (w *world) start(cmd *exec.Cmd) *process {
	w.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.stdout
	}
	cmd.Stderr = &p.stderr
	w.must(cmd.Start())
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	w.Cleanup(func() {
		p.kill()
		if w.Failed() && !p.silent && p.stderr.String() != "" {
			w.Logf("stderr of %s:\n%s", strings.Join(cmd.Args, " "), p.stderr.tail())
		}
	})
	return p
}

// run runs a program to its end.
func (w *world) run(name string, args ...string) *process {
	w.Helper()
	p := w.start(w.command(name, args...))
	w.await(name+" has ended", p.ended)
	return p
}

// mustRun is run of a program that has to succeed; it returns its stdout.
func (w *world) mustRun(name string, args ...string) string {
	w.Helper()
	p := w.run(name, args...)
	if code := p.code(); code != 0 {
		w.Fatalf("%s %s: exit code %d: %s%s", name, strings.Join(args, " "), code, p.stdout.tail(), p.stderr.tail())
	}
	return p.stdout.String()
}

func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.ended:
	default:
		p.cmd.Process.Signal(s)
	}
}

// kill ends the process and its children with SIGKILL and waits for it.
func (p *process) kill() {
	select {
	case <-p.ended:
	default:
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

// code is the exit code of a process that has ended, -1 after a signal.
func (p *process) code() int {
	<-p.ended
	var exit *exec.ExitError
	if p.err == nil {
		return 0
	}
	if errors.As(p.err, &exit) {
		return exit.ExitCode()
	}
	return -1
}
