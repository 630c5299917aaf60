package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The commands of docs/operating.md work as they are written, one after the other: only
// the ports are others, and a new binary lies ready.
func TestAnOperatorsDay(t *testing.T) {
	w := newWorld(t, 2*time.Minute)
	page, err := os.ReadFile("../docs/operating.md")
	w.must(err)
	var script strings.Builder
	script.WriteString("set -eux -o pipefail\n")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(page, -1) {
		script.Write(block[1])
	}
	ports := []string{"127.0.0.1:8080", w.freeAddress(), "127.0.0.1:9900", w.freeAddress()}
	for _, address := range []string{"127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"} {
		server := httptest.NewServer(http.FileServer(http.Dir(t.TempDir())))
		t.Cleanup(server.Close)
		ports = append(ports, address, server.Listener.Addr().String())
	}
	text := strings.NewReplacer(ports...).Replace(script.String())
	text = strings.ReplaceAll(text, "./fulcrum status", "./fulcrum status --admin "+ports[3])
	text = regexp.MustCompile(`\./fulcrum(\.previous)? (servers (?:list|upload|drain|undrain|get|patch)|reload|upgrade)`).ReplaceAllString(text, "$0 --admin "+ports[3])
	dir := t.TempDir()
	w.must(os.Mkdir(filepath.Join(dir, "new"), 0o755))
	for _, name := range []string{"fulcrum", "new/fulcrum"} {
		binary, err := os.ReadFile(plainBinary)
		w.must(err)
		w.must(os.WriteFile(filepath.Join(dir, name), binary, 0o755))
	}
	day := exec.CommandContext(w.ctx, "bash", "-c", text)
	day.Dir = dir
	day.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := os.Create(filepath.Join(dir, "out"))
	w.must(err)
	defer out.Close()
	day.Stdout, day.Stderr = out, out
	w.must(day.Start())
	defer syscall.Kill(-day.Process.Pid, syscall.SIGKILL) // what an upgrade has started is of the same group
	failed := day.Wait()
	said, _ := os.ReadFile(out.Name())
	log, _ := os.ReadFile(filepath.Join(dir, "fulcrum.log"))
	if failed != nil {
		t.Fatalf("%v\n%s\nthe balancer said\n%s", failed, said, log)
	}
	for _, want := range []string{"127.0.0.1:", "has taken over", "fulcrum ended with exit status 1", "the old one goes on", "no differences"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("nothing said %q:\n%s", want, said)
		}
	}
	w.eventually("the balancer is gone", func() bool { return syscall.Kill(-day.Process.Pid, 0) == syscall.ESRCH })
}
