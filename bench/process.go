package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to stop before it is killed.
const stopGrace = 5 * time.Second

// A process is a program that runs for one measurement. Whoever started it
// must stop it.
type process struct {
	cmd    *exec.Cmd
	stderr tail
	ended  chan struct{} // closed when it has ended
	err    error         // how; to be read once ended is closed
}

// start runs a program in a process group of its own, so that its workers can
// be stopped with it. Should this process die, the kernel tells the program to stop.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, ended: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	cmd.Stderr = &p.stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// pids returns the process and its descendants.
func (p *process) pids() ([]int, error) { return processTree(p.cmd.Process.Pid) }

// failure says how the process ended and what it wrote last; nil while it runs.
func (p *process) failure() error {
	select {
	case <-p.ended:
		how := p.err
		if how == nil {
			how = errors.New("exit status 0")
		}
		return fmt.Errorf("%s ended: %w: %s", p.cmd.Path, how, p.stderr.String())
	default:
		return nil
	}
}

// wait reports whether the process has ended by itself within d.
func (p *process) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}

// stop ends the process and its group, and returns when it has ended.
func (p *process) stop() {
	p.signal(syscall.SIGTERM)
	p.wait(stopGrace)
	p.kill()
	<-p.ended
}

// interrupt asks the process to end, and returns when it has. Other than stop
// it leaves to the process what that has started.
func (p *process) interrupt() {
	p.signal(syscall.SIGTERM)
	if !p.wait(2 * stopGrace) {
		p.stop()
	}
}

// kill ends the process at once, and workers that may outlive their master.
func (p *process) kill() { p.signal(syscall.SIGKILL) }

func (p *process) signal(s syscall.Signal) {
	// The group may have ended by itself, which is as good.
	_ = syscall.Kill(-p.cmd.Process.Pid, s)
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

const tailSize = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[max(0, len(b)-tailSize):]...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.text) == 0 {
		return "(it wrote nothing)"
	}
	return strings.TrimSpace(string(t.text))
}

// program finds a program; servers live in sbin on some systems.
func program(name string) (string, error) {
	for _, folder := range []string{"", "/usr/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(folder + name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: scripts/bench installs it, or leave it out with --contenders", name)
}

// self is this program, to be run again as origin, reverse proxy or client.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return path, nil
}
