package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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
}

// found starts the first, of a copy of a binary. All addresses in the config are to be
// fixed: see fixed.
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
	for _, pid := range l.pids {
		syscall.Kill(pid, syscall.SIGTERM)
	}
	until := time.Now().Add(10 * time.Second)
	for _, pid := range l.pids {
		for running(pid) && time.Now().Before(until) {
			time.Sleep(5 * time.Millisecond)
		}
		if running(pid) {
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

// install puts a copy of a program in the place of another, which may be running.
func (w *world) install(from, to string) {
	w.Helper()
	program, err := os.ReadFile(from)
	w.must(err)
	w.must(os.WriteFile(to+".new", program, 0o755))
	w.must(os.Rename(to+".new", to))
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

// upgradeHTTP has more patience than adminHTTP.
var upgradeHTTP = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 40 * time.Second}

// tryUpgrade asks for an upgrade, and returns the id of the process that has taken over,
// or why none has.
func (l *lineage) tryUpgrade() (pid int, refusal string) {
	l.w.Helper()
	response, err := upgradeHTTP.Post("http://"+l.admin+"/upgrade", "", nil)
	l.w.must(err)
	defer response.Body.Close()
	var answer struct {
		PID   int
		Error string
	}
	l.w.must(json.NewDecoder(response.Body).Decode(&answer))
	if response.StatusCode == 200 {
		l.pids = append(l.pids, answer.PID)
	}
	return answer.PID, answer.Error
}

// upgraded has another process take over.
func (l *lineage) upgraded() {
	l.w.Helper()
	if _, refusal := l.tryUpgrade(); refusal != "" {
		l.w.Fatalf("not upgraded: %s", refusal)
	}
}

// awaitHeir waits until nobody is left but the last process.
func (l *lineage) awaitHeir() {
	l.w.Helper()
	for _, pid := range l.pids[:len(l.pids)-1] {
		l.w.eventually(fmt.Sprintf("process %d is gone", pid), func() bool { return !running(pid) })
	}
}

// serves returns the id of the process that answers.
func (l *lineage) serves() int {
	l.w.Helper()
	var status struct{ PID int }
	l.get("/v1/status", &status)
	return status.PID
}

// running reports whether there is such a process that has not ended.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}
