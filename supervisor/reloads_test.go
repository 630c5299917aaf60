package supervisor

import (
	"context"
	"net"
	"testing"
	"time"

	"fulcrum/config"
	"fulcrum/porttest"
)

// While a reload is under way another one waits, though no longer than it may; a stop
// has the first one given up, which leaves nothing behind.
func TestReloadsAndAStop(t *testing.T) {
	server := echo(t, "a")
	text := func(more string) *config.Config {
		return parse(t, `{"listeners": [{"name": "l", "protocol": "tcp", "address": "127.0.0.1:0", "pool": "p"}%s],
			"pools": [{"name": "p", "servers": [%q]}]}`, more, server)
	}
	added := porttest.Closed(t)
	s, err := Start(text(""), quiet)
	if err != nil {
		t.Fatal(err)
	}
	loads, goOn := make(chan struct{}), make(chan struct{})
	next := text(`, {"name": "added", "protocol": "tcp", "address": "` + added + `", "pool": "p"}`)
	s.ReloadBy(func() (*config.Config, error) {
		loads <- struct{}{}
		<-goOn
		return next, nil
	})
	first := make(chan error, 1)
	go func() {
		_, err := s.Reload(context.Background(), false)
		first <- err
	}()
	<-loads

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = s.Reload(ctx, false)
	wantErr(t, err, "took too long", "nothing has changed")

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Stop(context.Background())
	}()
	<-s.ending.Done()
	close(goOn)
	wantErr(t, <-first, "stopping")
	<-stopped
	_, err = s.Reload(context.Background(), true)
	wantErr(t, err, "stopping")
	l, err := net.Listen("tcp", added)
	if err != nil {
		t.Fatalf("the address of the reload that was given up: %v", err)
	}
	l.Close()
}

// Names of what a reload changes are those of the file, with the values that are short.
func TestDifferences(t *testing.T) {
	const text = `{"listeners": [{"name": "web", "protocol": "http", "address": ":80", "pool": "p"%s}],
		"pools": [{"name": "p"%s}]%s}`
	was := parse(t, text, "", "", "")
	none := func(string) []string { return nil }
	for _, c := range []struct{ listener, pool, top, want string }{
		{},
		{listener: `, "tcp_user_timeout": "3s", "max_connections_per_client": 7`, want: `listener "web" changed: max_connections_per_client from 0 to 7, tcp_user_timeout from 0s to 3s`},
		{listener: `, "forwarded": "off", "routes": [{"redirect": {"path": "/"}}]`, want: `listener "web" changed: routes, forwarded from "replace" to "off"`},
		{pool: `, "algorithm": "round_robin", "health": false`, want: `pool "p" changed: algorithm from "least_connections" to "round_robin", health`},
		{top: `, "shutdown_timeout": "1m"`, want: `config changed: shutdown_timeout from 30s to 1m0s`},
		{top: `, "admin": {}`, want: "admin added"},
	} {
		got := differences(was, parse(t, text, c.listener, c.pool, c.top), none)
		if len(got) == 0 && c.want == "" {
			continue
		}
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	admin := parse(t, text, "", "", `, "admin": {}`)
	if got := differences(admin, was, none); len(got) != 1 || got[0] != "admin removed" {
		t.Errorf("got %q", got)
	}
}
