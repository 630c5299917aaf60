package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A lineage is processes of one balancer, each of which takes the place of the one
// before. The balancer's own process is the first.
type lineage struct {
	*balancer
	binary string // where the next process finds its program
	log    string // the file that all of them write to
	pids   []int  // of all, the one that serves now is the last
	over   bool   // none of them is to be there any more
}

// heir returns the id of the process that serves, as far as is known.
func (l *lineage) heir() int { return l.pids[len(l.pids)-1] }

// goneWithin is how long a process that has nothing left may take to end, on a machine
// that has much else to do.
const goneWithin = 10 * time.Second

// found starts the first, of a binary that may be replaced. All addresses in the config
// are to be fixed: see fixed.
func (w *world) found(binary string, config object) *lineage {
	w.Helper()
	folder := w.TempDir()
	l := &lineage{binary: filepath.Join(folder, "fulcrum"), log: filepath.Join(folder, "log")}
	w.install(binary, l.binary)
	l.balancer = &balancer{w: w, listeners: map[string]string{}, admin: config["admin"].(object)["address"].(string)}
	for _, of := range config["listeners"].([]object) {
		l.listeners[of["name"].(string)] = of["address"].(string)
	}
	// Each process has the file itself: a pipe would end with the first.
	log, err := os.Create(l.log)
	w.must(err)
	defer log.Close()
	cmd := w.command(l.binary, "run", "--log-format", "text", "--config", w.configFile(config))
	cmd.SysProcAttr.Pdeathsig = 0 // which would come with the end of the thread that started it
	l.process = &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	w.must(cmd.Start())
	l.pids = []int{cmd.Process.Pid}
	go func() {
		l.err = cmd.Wait()
		close(l.ended)
	}()
	w.Cleanup(func() { l.extinguish() })
	w.eventually("the first process serves", func() bool {
		status, _, err := l.ask("GET", "/healthz", "")
		return err == nil && status == 200
	})
	l.awaitReady()
	return l
}

// extinguish ends all that there are, and looks at what they leave.
func (l *lineage) extinguish() {
	if l.over {
		return
	}
	l.over = true
	for _, pid := range l.pids {
		if l.running(pid) {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	until := time.Now().Add(goneWithin)
	for _, pid := range l.pids {
		for l.running(pid) && time.Now().Before(until) {
			time.Sleep(5 * time.Millisecond)
		}
		if l.running(pid) {
			l.w.Errorf("process %d does not end", pid)
		}
	}
	syscall.Kill(-l.pids[0], syscall.SIGKILL) // all are of one group
	<-l.ended
	log, _ := os.ReadFile(l.log)
	for _, sign := range []string{"DATA RACE", "panic", "fatal error"} {
		if bytes.Contains(log, []byte(sign)) {
			l.w.Errorf("the log has %q in it", sign)
		}
	}
	if l.w.Failed() {
		l.w.Logf("the log:\n%s", log[max(0, len(log)-20<<10):])
	}
}

// install puts a program in the place of another, which may be running.
func (w *world) install(from, to string) {
	w.Helper()
	// A file that is written could not be run while a child that another test is
	// about to start has it open, too.
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.Fatal(err)
	}
	w.must(os.Link(from, to))
}

// installText has the next process be of what a text is.
func (l *lineage) installText(text string) {
	l.w.Helper()
	l.w.mustRun("sh", "-c", `printf %s "$1" >"$2" && chmod 700 "$2" && mv "$2" "$3"`, "sh", text, l.binary+".new", l.binary)
}

// fixed gives a config's listeners, and its admin listener, addresses that are free, and
// that nobody else is given once they are closed.
func (w *world) fixed(config object) object {
	w.Helper()
	for _, of := range config["listeners"].([]object) {
		of["address"] = w.freeAddress()
	}
	config["admin"] = object{"address": w.freeAddress()}
	return config
}

// said returns what all of them have logged.
func (l *lineage) said() string {
	text, _ := os.ReadFile(l.log)
	return string(text)
}

// askUpgrade asks for an upgrade, and returns the id of the process that has taken over,
// or why none has.
func (l *lineage) askUpgrade() (status, pid int, refusal string, err error) {
	patient := adminHTTP
	patient.Timeout = time.Until(l.w.deadline())
	status, text, err := l.askBy(patient, "POST", "/upgrade", "")
	if err != nil {
		return status, 0, "", err
	}
	var answer struct {
		PID   int
		Error string
	}
	err = json.Unmarshal([]byte(text), &answer)
	return status, answer.PID, answer.Error, err
}

// upgraded has another process take over. The one before may still be moving what it
// has open.
func (l *lineage) upgraded() {
	l.w.Helper()
	status, pid, refusal, err := l.askUpgrade()
	if err != nil || status != 200 || pid == l.heir() {
		l.w.Fatalf("upgrade of process %d: status %d, %v, %s", l.heir(), status, err, refusal)
	}
	l.pids = append(l.pids, pid)
}

// upgradedBySignal is upgraded by SIGUSR2.
func (l *lineage) upgradedBySignal() {
	l.w.Helper()
	last := l.heir()
	l.w.must(syscall.Kill(last, syscall.SIGUSR2))
	l.w.eventually("another process serves", func() bool { return l.serves() != last })
	l.pids = append(l.pids, l.serves())
}

// upgradedByCommand is upgraded by fulcrum upgrade.
func (l *lineage) upgradedByCommand() {
	l.w.Helper()
	said := l.w.mustRun(raceBinary, "upgrade", "--admin", l.admin)
	var pid int
	if _, err := fmt.Sscanf(said, "process %d has taken over\n", &pid); err != nil {
		l.w.Fatalf("fulcrum upgrade says %q", said)
	}
	l.pids = append(l.pids, pid)
}

var startingLine = regexp.MustCompile(`msg="starting another process to take over" pid=(\d+)`)

// started returns the processes that were to take over, as far as they began.
func (l *lineage) started() (pids []int) {
	for _, found := range startingLine.FindAllStringSubmatch(l.said(), -1) {
		pid, err := strconv.Atoi(found[1])
		l.w.must(err)
		pids = append(pids, pid)
	}
	return pids
}

// awaitHeir waits until nobody is left but the last process.
func (l *lineage) awaitHeir() {
	l.w.Helper()
	for _, pid := range l.pids[:len(l.pids)-1] {
		l.awaitEnd(pid)
	}
}

func (l *lineage) awaitEnd(pid int) {
	l.w.Helper()
	began := time.Now()
	l.w.eventually(fmt.Sprintf("process %d is gone", pid), func() bool { return !l.running(pid) })
	if took := time.Since(began); took > goneWithin {
		l.w.Errorf("process %d took %s to end", pid, took)
	}
}

// serves returns the id of the process that answers.
func (l *lineage) serves() int {
	l.w.Helper()
	var status struct{ PID int }
	l.get("/v1/status", &status)
	return status.PID
}

func (l *lineage) wantServing(pid int) {
	l.w.Helper()
	if got := l.serves(); got != pid {
		l.w.Errorf("process %d serves, want %d", got, pid)
	}
}

// running reports whether a process of the lineage has not ended. They are all of one
// group: if another one has got the number, it has.
func (l *lineage) running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	var state string
	var parent, group int
	_, after, _ := strings.Cut(string(stat), ") ")
	fmt.Sscan(after, &state, &parent, &group)
	return state != "Z" && state != "X" && group == l.pids[0]
}
