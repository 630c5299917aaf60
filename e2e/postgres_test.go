package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A cluster is a running PostgreSQL that keeps its data and its unix socket in
// one folder.
type cluster struct {
	w            *world
	folder       string
	address      string // host:port
	unix         string // as a fulcrum config writes it
	credential   *syscall.Credential
	host, socket string // as psql is told
	port         string
}

// postgres makes a cluster and starts it. PostgreSQL refuses to run as root: then
// it runs as the user that its package made.
func (w *world) postgres() *cluster {
	w.Helper()
	c := &cluster{w: w, folder: w.socketFolder(), address: w.freeAddress()}
	c.host, c.port, _ = net.SplitHostPort(c.address)
	c.socket = c.folder
	c.unix = "unix:" + filepath.Join(c.folder, ".s.PGSQL."+c.port)
	if os.Geteuid() == 0 {
		c.becomeUser("postgres")
	}
	data := filepath.Join(c.folder, "data")
	initdb := w.start(c.command("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"))
	w.await("initdb has ended", initdb.ended)
	if initdb.code() != 0 {
		w.Fatalf("initdb: exit code %d: %s", initdb.code(), initdb.stdout.tail())
	}
	server := w.start(c.command("postgres", "-D", data, "-p", c.port, "-h", c.host, "-k", c.folder,
		"-c", "fsync=off", "-c", "autovacuum=off", "-c", "shared_buffers=16MB", "-c", "max_connections=50"))
	server.silent = true
	// Its processes are in groups of their own: it has to end them itself.
	w.Cleanup(func() {
		server.signal(syscall.SIGQUIT)
		select {
		case <-server.ended:
		case <-time.After(5 * time.Second):
			w.Error("PostgreSQL did not end within 5s after SIGQUIT")
		}
	})
	w.eventually("PostgreSQL answers", func() bool {
		return w.run("psql", c.psqlArgs(c.socket, "-c", "SELECT 1")...).code() == 0
	})
	return c
}

// becomeUser has the programs of the cluster run as a user, who owns its folder.
func (c *cluster) becomeUser(name string) {
	c.w.Helper()
	account, err := user.Lookup(name)
	c.w.must(err)
	uid, uidErr := strconv.Atoi(account.Uid)
	gid, gidErr := strconv.Atoi(account.Gid)
	if uidErr != nil || gidErr != nil {
		c.w.Fatalf("user %s has the ids %q and %q", name, account.Uid, account.Gid)
	}
	c.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	c.w.must(os.Chown(c.folder, uid, gid))
}

// command prepares one of the programs that Debian keeps out of the PATH.
func (c *cluster) command(name string, args ...string) *exec.Cmd {
	c.w.Helper()
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		name = found[len(found)-1]
	}
	cmd := c.w.command(name, args...)
	cmd.SysProcAttr.Credential = c.credential
	cmd.Dir = c.folder
	return cmd
}

// psqlArgs has psql talk to a host, or to the socket in a folder, and print bare
// values.
func (c *cluster) psqlArgs(host string, args ...string) []string {
	port := c.port
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	return append([]string{"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h", host, "-p", port}, args...)
}

// ask runs a statement through psql.
func (c *cluster) ask(w *world, host, statement string) string {
	w.Helper()
	return strings.TrimSpace(w.mustRun("psql", c.psqlArgs(host, "-c", statement)...))
}

// A session is a psql that is told what to do line by line.
type session struct {
	*process
	w     *world
	stdin io.WriteCloser
}

func (c *cluster) session(w *world, host, name string) *session {
	w.Helper()
	cmd := w.command("psql", c.psqlArgs(host)...)
	cmd.Env = append(cmd.Env, "PGAPPNAME="+name)
	stdin, err := cmd.StdinPipe()
	w.must(err)
	return &session{process: w.start(cmd), w: w, stdin: stdin}
}

// says sends a line and waits until psql has printed a text.
func (s *session) says(line, want string) {
	s.w.Helper()
	_, err := io.WriteString(s.stdin, line+"\n")
	s.w.must(err)
	s.w.eventually("psql prints "+want, func() bool { return strings.Contains(s.stdout.String(), want) })
}

// TestPostgres: psql works with a PostgreSQL behind a tcp listener as it does
// without, by either kind of address and on either side.
func TestPostgres(t *testing.T) {
	w := newWorld(t, 60*time.Second)
	c := w.postgres()
	for _, io := range []string{"epoll", "io_uring"} {
		for _, test := range []struct {
			name         string
			server       string
			clientOnUnix bool
		}{
			{"tcp", c.address, false},
			{"unix", c.unix, true},
		} {
			t.Run(io+"/"+test.name, func(t *testing.T) {
				w := newWorld(t, 40*time.Second)
				w.needIO(io)
				config := tcpOnly(test.server)
				config["io"] = io
				var host string
				if test.clientOnUnix {
					host = w.socketFolder()
					config["listeners"].([]object)[0]["address"] = "unix:" + filepath.Join(host, ".s.PGSQL."+c.port)
				}
				b := w.balance(config)
				if !test.clientOnUnix {
					host = b.listeners["db"]
				}
				c.wantWorks(w, b, host)
			})
		}
	}
}

// wantWorks does by way of a balancer what people do with a database.
func (c *cluster) wantWorks(w *world, b *balancer, host string) {
	w.Helper()
	listener := c.session(w, host, "listener")
	listener.says("LISTEN news; SELECT 'listens';", "listens")

	if got := c.ask(w, host, "SELECT sum(n) FROM generate_series(1, 100000) n"); got != "5000050000" {
		w.Errorf("the sum of 1 to 100000 is %q", got)
	}
	c.wantCopies(w, host)
	c.wantCancels(w, b, host)

	c.ask(w, host, "NOTIFY news, 'still there'")
	listener.says("SELECT 'awake';", "still there")
	w.must(listener.stdin.Close())
	w.await("psql has ended", listener.ended)
	if listener.code() != 0 {
		w.Errorf("the session that was idle ended with exit code %d", listener.code())
	}
	b.awaitServer("db", b.pools()["db"][0].Address, "without connections", func(s server) bool { return s.Active == 0 })
}

// wantCopies copies some megabytes into a table and out again.
func (c *cluster) wantCopies(w *world, host string) {
	w.Helper()
	const rows = 60000
	var table strings.Builder
	for i := range rows {
		fmt.Fprintf(&table, "%d\t%x\n", i, sha256.Sum256([]byte(strconv.Itoa(i))))
	}
	copies := w.command("psql", c.psqlArgs(host,
		"-c", "CREATE TEMPORARY TABLE copied (n int, noise text)",
		"-c", `\copy copied FROM pstdin`,
		"-c", `\copy (SELECT * FROM copied ORDER BY n) TO pstdout`)...)
	copies.Stdin = strings.NewReader(table.String())
	p := w.start(copies)
	w.await("psql has copied", p.ended)
	if got := p.stdout.String(); p.code() != 0 || got != table.String() {
		w.Errorf("COPY: exit code %d, %d bytes came back; want the %d that were sent", p.code(), len(got), table.Len())
	}
}

// wantCancels interrupts a statement: psql asks for it on a second connection.
func (c *cluster) wantCancels(w *world, b *balancer, host string) {
	w.Helper()
	name := "sleeper of " + w.Name()
	cmd := w.command("psql", c.psqlArgs(host, "-c", "SELECT pg_sleep(600)")...)
	cmd.Env = append(cmd.Env, "PGAPPNAME="+name)
	sleeper := w.start(cmd)
	sleeper.silent = true
	w.eventually("the statement runs", func() bool {
		return c.ask(w, c.socket, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE application_name = '%s' AND state = 'active'", name)) == "1"
	})
	before := b.traffic("db").Accepted
	sleeper.signal(syscall.SIGINT)
	w.await("psql has ended", sleeper.ended)
	if sleeper.code() != 1 || !strings.Contains(sleeper.stderr.String(), "canceling statement due to user request") {
		w.Errorf("after SIGINT psql ended with exit code %d: %s", sleeper.code(), sleeper.stderr.tail())
	}
	if got := b.traffic("db").Accepted - before; got != 1 {
		w.Errorf("%d more connections for the cancel request, want 1", got)
	}
}
