package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"fulcrum/admin"
	"fulcrum/config"
	"fulcrum/porttest"
	"fulcrum/state"

	"golang.org/x/sys/unix"

	"fulcrum/handover"
)

// links returns the two ends of a link, of which another process would have the second.
func links(t *testing.T) (own, others *handover.Link) {
	t.Helper()
	own, childs, err := handover.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer childs.Close()
	fd, err := unix.Dup(int(childs.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FULCRUM_HANDOVER", strconv.Itoa(fd))
	if others, err = handover.Inherited(); err != nil {
		t.Fatal(err)
	}
	return own, others
}

// succeeded has another balancer, with a config of its own, take the place of this one
// as another process would, and stops this one in the background.
func (w *world) succeeded(format string, args ...any) *world {
	w.t.Helper()
	own, others := links(w.t)
	c := parse(w.t, format, args...)
	next := &world{t: w.t, log: &record{}}
	began := make(chan error, 1)
	go func() {
		var err error
		next.Supervisor, err = StartWith(c, &Heritage{Link: others}, slog.New(slog.NewTextHandler(next.log, nil)))
		began <- err
	}()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + len(w.current.Load().loops)) // each loop that is busy keeps a processor
	w.t.Cleanup(func() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) - len(w.current.Load().loops)) })
	if err := w.suspendChanges(); err != nil {
		w.t.Fatal(err)
	}
	kept, err := w.settleWith(own)
	if err != nil {
		w.t.Fatal(err)
	}
	w.UpgradeBy(nil, func(int) {})
	w.replace(own, kept, os.Getpid())
	if err := <-began; err != nil {
		w.t.Fatal(err)
	}
	next.Settled()
	w.t.Cleanup(func() { next.stop(0) })
	return next
}

// leave stops a balancer that another has taken the place of, in the background.
func (w *world) leave() (left <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Stop(context.Background())
	}()
	w.t.Cleanup(func() { <-done })
	return done
}

// keeper is a client of an http listener, that keeps its connection.
type keeper struct {
	net.Conn
	t      *testing.T
	answer *bufio.Reader
}

func dialWeb(t *testing.T, address string) *keeper {
	t.Helper()
	c := dial(t, address)
	return &keeper{c.Conn, t, c.lines}
}

// ask returns the answer to a request.
func (c *keeper) ask(path string) string {
	c.t.Helper()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
	return c.answered()
}

func (c *keeper) answered() string {
	c.t.Helper()
	r, err := http.ReadResponse(c.answer, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// Who a client is moves along with it: by its connection's address, or by the PROXY
// header that it began with.
func TestWhoAClientIsMovesAlong(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	}))
	t.Cleanup(origin.Close)
	log := filepath.Join(t.TempDir(), "access.log")
	text := fmt.Sprintf(`{"listeners": [
		{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "web"},
		{"name": "told", "protocol": "http", "address": "127.0.0.1:0", "pool": "web", "accept_proxy": {"from": ["127.0.0.0/8"]}},
		{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "echo", "access_log": %q, "accept_proxy": {"from": ["127.0.0.0/8"]}}],
		"pools": [{"name": "web", "servers": [%q]}, {"name": "echo", "servers": [%q]}]}`,
		log, origin.Listener.Addr(), echo(t, "a"))
	w := start(t, "%s", text)
	const header = "PROXY TCP4 192.0.2.7 192.0.2.8 77 88\r\n"
	direct, told, relayed := dialWeb(t, w.address("web")), dialWeb(t, w.address("told")), dial(t, w.address("echo"))
	io.WriteString(told, header)
	io.WriteString(relayed, header)
	relayed.say("hello")
	for range 2 {
		if got := direct.ask("/"); got != "127.0.0.1" {
			t.Fatalf("forwarded for %q", got)
		}
		if got := told.ask("/"); got != "192.0.2.7" {
			t.Fatalf("forwarded for %q", got)
		}
		next := w.succeeded("%s", text)
		<-w.leave()
		w = next
	}
	relayed.Close()
	eventually(t, "the record is written", func() bool {
		line, _ := os.ReadFile(log)
		return strings.Contains(string(line), `"client":"192.0.2.7:77"`)
	})
}

// A listener is known by its address: under another name it goes on with what it has
// open and has counted.
func TestAListenerThatIsRenamedKeepsItsConnections(t *testing.T) {
	address := porttest.Closed(t)
	const text = `{"listeners": [{"name": %q, "protocol": "tcp", "address": %q, "pool": "all"}], "pools": [{"name": "all", "servers": [%q]}]}`
	server := echo(t, "a")
	w := start(t, text, "before", address, server)
	c := dial(t, address)
	c.say("one")
	next := w.succeeded(text, "after", address, server)
	left := w.leave()
	eventually(t, "the connection moves", func() bool { return next.server(server).Active == 1 })
	<-left
	c.say("two")
	if got := next.Listeners()[0].TCP.Accepted; got != 1 {
		t.Errorf("%d were accepted", got)
	}
}

// heirState names the state file to the process that TestAnHeirThatHangs is.
const heirState = "FULCRUM_TEST_HEIR_STATE"

// Of another process, that locks the state file and says no more.
func TestAnHeirThatHangs(t *testing.T) {
	path, link := os.Getenv(heirState), (*handover.Link)(nil)
	if path == "" {
		t.Skip("for the tests that start it")
	}
	link, err := handover.Inherited()
	if err != nil || link == nil {
		t.Fatalf("no link, error %v", err)
	}
	h := Heritage{Link: link}
	if err := h.receiveSockets(); err != nil {
		t.Fatal(err)
	}
	link.Tell(sayPrepared, []socketName{})
	if err := expect(link, tellCommit, nil); err != nil {
		t.Fatal(err)
	}
	f, err := state.Open(path, config.ParseServer)
	if err == nil {
		err = f.Lock()
	}
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path+".taken", nil, 0o600)
	link.Receive() // until the other end is closed
	time.Sleep(patience)
}

// A new process that fails late has the state file locked until it is gone. After that
// the old one records changes as before.
func TestTheStateFileComesBackAfterAnUpgradeThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	w := start(t, `{"listeners": [{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
		"pools": [{"name": "all", "servers": []}], "state": %q}`, path)
	w.UpgradeBy(func() (*exec.Cmd, error) {
		command := exec.Command(os.Args[0], "-test.run=^TestAnHeirThatHangs$")
		command.Env = append(os.Environ(), heirState+"="+path)
		command.Stderr = os.Stderr
		return command, nil
	}, nil)
	ctx, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	failed := make(chan error, 1)
	go func() {
		_, err := w.Upgrade(ctx)
		failed <- err
	}()
	eventually(t, "the new process has the state file", func() bool {
		_, err := os.Stat(path + ".taken")
		return err == nil
	})
	giveUp()
	wantErr(t, <-failed, "this one goes on")
	if _, err := w.upload("all", echo(t, "a")); err != nil {
		t.Errorf("nothing can be uploaded any more: %v", err)
	}
}

// When the new process is gone in the middle of it, the old one serves what it has left,
// the request on its way to a connection that was to move next among it.
func TestClientsStayWhenTheNewProcessIsGone(t *testing.T) {
	origin := startWeb(t, "a")
	const text = `{"listeners": [{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "all"}],
		"pools": [{"name": "all", "servers": [%q]}]}`
	w := start(t, text, origin.address)
	idle, busy := dialWeb(t, w.address("web")), dialWeb(t, w.address("web"))
	idle.ask("/")
	fmt.Fprint(busy, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
	<-origin.held
	next := w.succeeded(text, origin.address)
	next.stop(0)
	left := w.leave()
	eventually(t, "nobody takes the connections", func() bool { return strings.Contains(w.log.String(), "what is open stays here") })
	close(origin.release)
	if got := busy.answered(); got != "begun ended a" {
		t.Errorf("got %q", got)
	}
	if got := busy.ask("/"); got != "a" {
		t.Errorf("got %q", got)
	}
	<-left
}

// A listener that the new process does not have accepts nobody any more while what the
// others have open moves.
func TestAListenerThatIsRemovedStopsAtOnce(t *testing.T) {
	origin := startWeb(t, "a")
	const web, gone = `{"name": "web", "protocol": "http", "address": "127.0.0.1:0", "pool": "all"}`, `, {"name": "gone", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}`
	const text = `{"listeners": [%s], "pools": [{"name": "all", "servers": [%q]}]}`
	w := start(t, text, web+gone, origin.address)
	address := w.address("gone")
	busy, there := dialWeb(t, w.address("web")), dialWeb(t, address)
	fmt.Fprint(busy, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
	<-origin.held
	there.ask("/")
	w.succeeded(text, web, origin.address)
	left := w.leave()
	eventually(t, "nobody is accepted", func() bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if got := there.ask("/"); got != "a" {
		t.Errorf("got %q", got)
	}
	there.Close()
	close(origin.release)
	busy.answered()
	<-left
}

// What was counted last is told, however long ago the last connection was moved.
func TestCountsAreToldInTheEnd(t *testing.T) {
	w := start(t, onePool, "", "1s")
	own, others := links(t)
	defer own.Close()
	defer others.Close()
	w.upgrade.told = w.current.Load().tally()
	own.SetDeadline(time.Now()) // as of a batch long ago
	others.SetDeadline(time.Now().Add(patience))
	w.sendCounts(own)
	if err := expect(others, tellCounts, nil); err != nil {
		t.Error(err)
	}
}

// Nobody drains a balancer whose place is about to be taken: that would be forgotten.
func TestADrainDuringAnUpgradeIsRefused(t *testing.T) {
	w := start(t, onePool, "", "1s")
	w.UpgradeBy(func() (*exec.Cmd, error) {
		_, err := w.Drain(context.Background(), admin.DrainRequest{})
		wantErr(t, err, "taking over")
		return nil, errors.New("no such binary")
	}, nil)
	_, err := w.Upgrade(context.Background())
	wantErr(t, err, "no such binary")
	if _, err := w.Drain(context.Background(), admin.DrainRequest{}); err != nil {
		t.Error(err)
	}
}

// A new process that does not answer in time has not taken what it was told of, and
// learns that when it says so later: the connection goes on in one of the two.
func TestAnAnswerThatComesTooLate(t *testing.T) {
	w := start(t, onePool, quoted(echo(t, "a")), "1s")
	early, late := dial(t, w.address("echo")), dial(t, w.address("echo"))
	early.say("one")
	late.say("one")
	own, others := links(t)
	defer own.Close()
	defer others.Close()
	messages := w.current.Load().listeners[0].give(2)
	if len(messages) != 2 {
		t.Fatalf("%d are given", len(messages))
	}
	others.Tell(sayTaken, nil)
	if taken, err := w.send(own, messages, time.Millisecond); taken != 1 || err == nil {
		t.Errorf("%d were taken, error %v", taken, err)
	}
	if err := others.Tell(sayTaken, nil); err == nil {
		t.Error("the new process goes on with it too")
	}
	moved, err := others.Receive()
	if err != nil {
		t.Fatal(err)
	}
	stayed := early
	if port := early.LocalAddr().(*net.TCPAddr).Port; peer(t, moved.Descriptors[0]) == port {
		stayed = late
	}
	moved.Close()
	stayed.say("two")
	stayed.Close()
}

// peer returns the port of the other side of a connection.
func peer(t *testing.T, fd int) int {
	t.Helper()
	sa, err := unix.Getpeername(fd)
	if err != nil {
		t.Fatal(err)
	}
	return sa.(*unix.SockaddrInet4).Port
}

// The connections of a server that is being deleted, which the new process does not
// know, go on in the old one although for a moment there are none.
func TestAConnectionComesBackToAServerThatIsBeingDeleted(t *testing.T) {
	server := echo(t, "a")
	w := start(t, onePool, "", "1m")
	if _, err := w.upload("all", server); err != nil {
		t.Fatal(err)
	}
	w.ready(server)
	c := dial(t, w.address("echo"))
	c.say("one")
	w.delete(server, false)
	w.succeeded(onePool, "", "1m")
	now := w.current.Load()
	messages := now.listeners[0].give(1)
	if len(messages) != 1 {
		t.Fatalf("%d are given", len(messages))
	}
	w.removed(context.Background(), now.pools[0], now.pools[0].Find(server)) // as there is none any more
	w.takeBack(messages[0])
	c.say("two")
	c.Close()
	<-w.leave()
}

// The file of the admin listener's socket stays as long as somebody listens there.
func TestTheFileOfTheAdminListener(t *testing.T) {
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
	const text = `{"listeners": [{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
		"pools": [{"name": "all", "servers": []}], "admin": {"address": "unix:%s"}}`
	w := start(t, text, before)
	same := w.succeeded(text, before)
	<-w.leave()
	if _, err := os.Stat(before); err != nil {
		t.Error(err)
	}
	other := same.succeeded(text, after)
	<-same.leave()
	if _, err := os.Stat(before); err == nil {
		t.Error("a file is left where nobody listens")
	}
	other.stop(0)
	if _, err := os.Stat(after); err == nil {
		t.Error("a file is left where nobody listens")
	}
}

// The admin listener may ask for an upgrade before it is known how there can be one.
func TestAnEarlyUpgrade(t *testing.T) {
	w := start(t, onePool, "", "1s")
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		w.Upgrade(context.Background())
	}()
	w.UpgradeBy(func() (*exec.Cmd, error) { return nil, errors.New("no such binary") }, nil)
	<-asked
}

// endsLater is a context that ends after it was asked some times.
type endsLater struct {
	context.Context
	times int
}

func (c *endsLater) Err() error {
	if c.times--; c.times < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// Whatever the moment at which the time to move is over: what was taken off a listener
// is told of or taken back.
func TestTheTimeToMoveIsOver(t *testing.T) {
	for times := range 4 {
		w := start(t, onePool, quoted(echo(t, "a")), "1s")
		c := dial(t, w.address("echo"))
		c.say("one")
		own, others := links(t)
		others.Close()
		now := w.current.Load()
		w.upgrade.link, w.upgrade.heirs = own, map[*listener]bool{now.listeners[0]: true}
		w.bequeath(&endsLater{context.Background(), times})
		c.say("two")
		w.upgrade.link = nil
		own.Close()
	}
}
