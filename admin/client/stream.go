package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"fulcrum/admin"
)

const (
	// liveDeadAfter is how long nothing may come on a stream of GET /live: a message
	// comes each second.
	liveDeadAfter = 10 * time.Second
	maxLine       = 64 << 20 // bytes of a line of a stream: the past of all listeners and pools is one
)

var errSilent = errors.New("nothing has come for too long")

// Live calls tell with the messages of one stream of GET /live: those that bring
// everything, and then one each second. It returns when the stream ends, which the
// balancer does when it stops, ctx ends, or tell returns an error, which is then the
// one returned.
func (c *Client) Live(ctx context.Context, tell func(admin.Live) error) error {
	return c.read(ctx, stream{path: "/live", silence: liveDeadAfter}, func(line string) error {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			return nil
		}
		var message admin.Live
		if err := json.Unmarshal([]byte(data), &message); err != nil {
			return fmt.Errorf("%s does not stream what happens: %w", c.address, err)
		}
		return tell(message)
	})
}

// A stream is an answer of server-sent events, as it is asked for.
type stream struct {
	path    string
	query   url.Values
	last    string        // the ID of the last event that is known; "": none
	silence time.Duration // how long nothing may come
	begun   func()        // called when the listener has agreed; nil: nothing is
}

// read calls line with each line of a stream until it ends, ctx does, nothing comes
// any more or line returns an error.
func (c *Client) read(ctx context.Context, s stream, line func(string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dead := time.AfterFunc(s.silence, func() { cancel(errSilent) })
	defer dead.Stop()
	request, err := c.compose(ctx, request{method: http.MethodGet, path: s.path, query: s.query})
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	if s.last != "" {
		request.Header.Set("Last-Event-ID", s.last)
	}
	lasting := *c.http
	lasting.Timeout = 0
	response, err := lasting.Do(request)
	if err != nil {
		return c.brokeOff(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		return c.refused(response.StatusCode, text)
	}
	if s.begun != nil {
		s.begun()
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		dead.Reset(s.silence)
		if err := line(lines.Text()); err != nil {
			return err
		}
	}
	if lines.Err() != nil {
		return c.brokeOff(ctx, lines.Err())
	}
	return nil
}

// brokeOff says in words why nothing comes any more.
func (c *Client) brokeOff(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause == errSilent {
		err = cause
	}
	return c.unreached(err)
}
