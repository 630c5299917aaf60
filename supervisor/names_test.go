package supervisor

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// names is the one name server there is. It says that every name it knows is
// 127.0.0.1.
type names struct {
	known atomic.Bool // else names do not exist
	hang  atomic.Bool // it cannot be reached
	asked atomic.Int64
}

func useNames(t *testing.T) *names {
	n := &names{}
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if n.hang.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		client, server := net.Pipe()
		go n.serve(server) // until the resolver closes its end
		return client, nil
	}}
	return n
}

// serve answers queries that come as over TCP (RFC 1035, section 4.2.2).
func (n *names) serve(conn net.Conn) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		n.asked.Add(1)
		answer := n.answer(query)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func (n *names) answer(query []byte) []byte {
	const header, typeA, noSuchName = 12, 1, 3
	end := header
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5 // the root label, type and class
	answer := append([]byte{}, query[:end]...)
	answer[2], answer[3] = 0x84, 0x80 // an answer with authority; recursion is available
	copy(answer[4:header], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	switch {
	case !n.known.Load():
		answer[3] |= noSuchName
	case query[end-3] == typeA:
		answer[7] = 1
		answer = append(answer, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return answer
}

func TestHostNames(t *testing.T) {
	_, port, _ := net.SplitHostPort(echo(t, "a"))
	w := start(t, onePool, quoted("LOCALHOST:"+port), "1s")
	w.ready("localhost:" + port)
	if name := dial(t, w.address("echo")).say("hello"); name != "a" {
		t.Errorf("%q answered", name)
	}
	w.delete("http://Localhost:"+port, true)
	w.gone("localhost:" + port)
}

// A server whose name does not resolve at start is there, but not ready, and
// nobody else waits for it; that is said once. It takes traffic once the name
// resolves, and keeps it when names fail again.
func TestANameThatDoesNotResolveAtStart(t *testing.T) {
	names := useNames(t)
	_, port, _ := net.SplitHostPort(echo(t, "late"))
	late := "late.example:" + port
	a := echo(t, "a")
	w := start(t, `{
	  "listeners": [{"name": "echo", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "all"}],
	  "pools": [{"name": "all", "servers": [%s], "resolve_interval": "20ms", "health": {"interval": "20ms", "rise": 1}}]}`, quoted(late, a))
	w.ready(a)
	if name := dial(t, w.address("echo")).say("hello"); name != "a" {
		t.Errorf("%q answered", name)
	}
	const failed = "name could not be resolved"
	eventually(t, "many look-ups", func() bool { return names.asked.Load() > 10 })
	if s := w.server(late); s.Ready || s.LastCheck == nil || s.LastCheck.Reason != "the name is not resolved" {
		t.Errorf("%+v, last check %+v", s, s.LastCheck)
	}
	if log := w.log.String(); strings.Count(log, failed) != 1 {
		t.Errorf("logged %s", log)
	}
	names.known.Store(true)
	w.ready(late)
	eventually(t, "traffic for it", func() bool { return dial(t, w.address("echo")).say("hello") == "late" })
	names.known.Store(false)
	eventually(t, "failing again", func() bool { return strings.Count(w.log.String(), failed) == 2 })
	if s := w.server(late); !s.Ready {
		t.Errorf("%+v, last check %+v", s, s.LastCheck)
	}
}

// A name that is uploaded must resolve, unless it is known where it leads.
func TestUploadOfANameThatDoesNotResolve(t *testing.T) {
	names := useNames(t)
	w := start(t, onePool, "", "1s")
	_, err := w.upload("all", "late.example:80")
	wantRefusal(t, err, 400, `server "late.example:80": lookup late.example`)
	if w.server("late.example:80") != nil {
		t.Error("uploaded although it does not resolve")
	}
	names.known.Store(true)
	if created, err := w.upload("all", "late.example:80"); !created || err != nil {
		t.Errorf("created %t, error %v", created, err)
	}
	names.known.Store(false)
	done, err := w.Change(t.Context(), uploadOf("", "late.example:80", 7, 0))
	if s := w.server("late.example:80"); done.Created || err != nil || s.Weight != 7 {
		t.Errorf("updated: created %t, error %v, %+v", done.Created, err, s)
	}
	if to := w.current.Load().pools[0].Find("late.example:80").Resolved(); to == nil || to.String() != "127.0.0.1:80" {
		t.Errorf("leads to %v", to)
	}
}

// A name server that does not answer holds up an upload only as long as its
// client waits, and nobody else.
func TestNameServerThatHangs(t *testing.T) {
	useNames(t).hang.Store(true)
	a := echo(t, "a")
	w := start(t, onePool, quoted(a), "1s")
	ctx, cancel := context.WithCancel(t.Context())
	uploaded := make(chan error, 1)
	go func() {
		_, err := w.Change(ctx, uploadOf("", "slow.example:80", 1, 0))
		uploaded <- err
	}()
	w.delete(a, false)
	w.gone(a)
	cancel()
	select {
	case err := <-uploaded:
		wantErr(t, err, `server "slow.example:80"`)
	case <-time.After(patience):
		t.Fatal("the upload does not end")
	}
	if w.server("slow.example:80") != nil {
		t.Error("uploaded although it did not resolve")
	}
}
