package supervisor

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fulcrum/certtest"
	"fulcrum/config"
	"fulcrum/loop"
)

const (
	firstSecret  = "s3cr3t-of-the-first-day"
	secondSecret = "s3cr3t-of-the-second-day"
)

// secretFile returns the path of a file that holds a secret.
func secretFile(t *testing.T, secret string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "token")
	rewrite(t, path, secret)
	return path
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const guarded = `{
  "listeners": [{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
  "pools": [{"name": "all"}],
  "admin": {"address": %q%s}}`

// asks returns the status of a request with a token to an admin listener.
func asks(t *testing.T, method, address, secret string) int {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+address+"/upload_server", strings.NewReader(`{"server": "127.0.0.1:1"}`))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodGet {
		request.URL.Path = "/servers"
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); strings.Contains(string(text), secret) {
		t.Errorf("the answer has the secret: %s", text)
	}
	return answer.StatusCode
}

// The tokens that the config names let in, those with read access to look only.
func TestAdminTokens(t *testing.T) {
	t.Setenv("METRICS_TOKEN", secondSecret)
	w := start(t, guarded, "127.0.0.1:0", fmt.Sprintf(`, "tokens": [{"name": "ops", "file": %q}, {"name": "metrics", "access": "read", "env": "METRICS_TOKEN"}]`,
		secretFile(t, firstSecret+"\n")))
	for _, c := range []struct {
		method, secret string
		status         int
	}{
		{"GET", firstSecret, 200}, {"GET", secondSecret, 200}, {"GET", "wrong", 401},
		{"POST", secondSecret, 403}, {"POST", "wrong", 401}, {"POST", firstSecret, 201},
	} {
		if status := asks(t, c.method, w.AdminAddress(), c.secret); status != c.status {
			t.Errorf("%s with %q: status %d, want %d", c.method, c.secret, status, c.status)
		}
	}
	log := w.log.String()
	if strings.Contains(log, "s3cr3t") || !strings.Contains(log, `msg="server uploaded" who=ops remote=127.0.0.1:`) {
		t.Errorf("logged %s", log)
	}
}

// A reload changes who may use the admin listener, which stays where it is; one
// that fails does not.
func TestAdminTokensAreReloaded(t *testing.T) {
	path := secretFile(t, firstSecret)
	tokens := fmt.Sprintf(`, "tokens": [{"name": "ops", "file": %q}]`, path)
	w := start(t, guarded, "127.0.0.1:0", "")
	address := w.AdminAddress()
	next := fmt.Sprintf(guarded, "127.0.0.1:0", tokens)
	w.ReloadBy(func() (*config.Config, error) { return config.Parse([]byte(next)) })
	reload := func(dryRun bool) error {
		_, err := w.Reload(t.Context(), dryRun)
		return err
	}
	want := func(secret string, status int) {
		t.Helper()
		if got := asks(t, "GET", address, secret); got != status {
			t.Errorf("%q: status %d, want %d", secret, got, status)
		}
	}
	want("any", 200)
	if err := reload(true); err != nil {
		t.Fatal(err)
	}
	want("any", 200)
	if err := reload(false); err != nil {
		t.Fatal(err)
	}
	want("any", 401)
	want(firstSecret, 200)
	rewrite(t, path, "short")
	wantErr(t, reload(false), `admin: token "ops": `+path+": a token must have 16 to 1024 bytes")
	want(firstSecret, 200)
	rewrite(t, path, secondSecret)
	want(firstSecret, 200)
	if err := reload(false); err != nil {
		t.Fatal(err)
	}
	want(firstSecret, 401)
	want(secondSecret, 200)
	next = fmt.Sprintf(guarded, "127.0.0.1:0", "")
	if err := reload(false); err != nil {
		t.Fatal(err)
	}
	want("any", 200)
}

// Files that cannot be read are reported with all else, and leave nothing open.
func TestAllProblemsOfTheAdminListener(t *testing.T) {
	taken := listen(t).Addr().String()
	certificate, _ := certtest.NewAuthority(t).Issue("admin")
	text := fmt.Sprintf(`, "tokens": [{"name": "a", "file": "/nowhere"}, {"name": "b", "env": "UNSET_TOKEN"}],
		"tls": {"certificate": %q, "key": "/nowhere", "client_ca": "/nowhere"}`, certificate)
	_, err := Start(parse(t, guarded, taken, text), quiet)
	wantErr(t, err, "5 problems", `admin: token "a": open /nowhere`, `admin: token "b": environment variable UNSET_TOKEN is not set`,
		"admin: tls: certificate", "admin: tls: client_ca: open /nowhere", "admin: listen tcp "+taken, "address already in use")

	path := filepath.Join(t.TempDir(), "admin.sock")
	_, err = Start(parse(t, guarded, "unix:"+path, `, "tokens": [{"name": "a", "file": "/nowhere"}]`), quiet)
	wantErr(t, err, `admin: token "a": open /nowhere: no such file or directory`)
	absent(t, path)
}

// Who asks for every address of IPv4 gets those, and not those of IPv6 too.
func TestAdminOnAllOfIPv4(t *testing.T) {
	w := start(t, guarded, "0.0.0.0:0", fmt.Sprintf(`, "tokens": [{"name": "ops", "file": %q}]`, secretFile(t, firstSecret)))
	address, ok := strings.CutPrefix(w.AdminAddress(), "0.0.0.0:")
	if !ok {
		t.Fatalf("it is at %s", w.AdminAddress())
	}
	if status := asks(t, "GET", "127.0.0.1:"+address, firstSecret); status != 200 {
		t.Errorf("status %d", status)
	}
}

// Where a service manager has bound the admin listener counts for more than what the
// config says: a reload leaves no listener open to strangers either.
func TestReloadDoesNotOpenTheAdminListener(t *testing.T) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	socket, err := loop.Duplicate(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	tokens := fmt.Sprintf(`, "tokens": [{"name": "ops", "file": %q}]`, secretFile(t, firstSecret))
	h := &Heritage{Sockets: []Inherited{{Name: AdminSocket, Sockets: []int{socket}, Borrowed: true}}}
	s, err := StartWith(parse(t, guarded, "127.0.0.1:9900", tokens), h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Settled()
	w := &world{Supervisor: s, t: t}
	defer w.stop(0)
	_, err = w.tryReload(false, fmt.Sprintf(guarded, "127.0.0.1:9900", ""))
	wantRefusal(t, err, http.StatusConflict, "others can reach it")
	w.reload(guarded, "127.0.0.1:9900", tokens)
}
