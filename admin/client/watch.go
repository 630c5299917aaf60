package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fulcrum/admin"
	"fulcrum/events"
)

const (
	// deadAfter is how long nothing may come on a stream: a listener sends something
	// every 15 seconds.
	deadAfter = 45 * time.Second
	comeBack  = time.Second // after a stream has ended

	logLevelPath = "/v1/log_level"
)

// EventsWanted says which events to ask for.
type EventsWanted struct {
	After int64  // only those after the one with this ID
	Limit int    // the newest so many of those that there are; 0: all
	Pool  string // only those of this pool; "": all
}

func (w EventsWanted) query() url.Values {
	query := url.Values{}
	if w.After > 0 {
		query.Set("after", strconv.FormatInt(w.After, 10))
	}
	if w.Limit > 0 {
		query.Set("limit", strconv.Itoa(w.Limit))
	}
	if w.Pool != "" {
		query.Set("pool", w.Pool)
	}
	return query
}

// Events returns the last events, oldest first.
func (c *Client) Events(ctx context.Context, w EventsWanted) (admin.EventsAnswer, error) {
	var answer admin.EventsAnswer
	_, err := c.call(ctx, request{method: http.MethodGet, path: "/events", query: w.query()}, &answer)
	return answer, err
}

// Explain says what the algorithm of a pool sees now and whom it would choose. The
// pool may be "" if there is only one, or with a listener.
func (c *Client) Explain(ctx context.Context, pool, listener string) (explanation admin.Explanation, err error) {
	query := url.Values{}
	for name, value := range map[string]string{"pool": pool, "listener": listener} {
		if value != "" {
			query.Set(name, value)
		}
	}
	_, err = c.call(ctx, request{method: http.MethodGet, path: "/explain", query: query}, &explanation)
	return explanation, err
}

// LogLevel returns the level of the balancer's log.
func (c *Client) LogLevel(ctx context.Context) (string, error) {
	var answer admin.LogLevelAnswer
	_, err := c.call(ctx, request{method: http.MethodGet, path: logLevelPath}, &answer)
	return answer.Level, err
}

// SetLogLevel changes it: debug, info, warn or error.
func (c *Client) SetLogLevel(ctx context.Context, level string) error {
	body, err := json.Marshal(map[string]string{"level": level})
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	var answer admin.LogLevelAnswer
	_, err = c.call(ctx, request{method: http.MethodPut, path: logLevelPath, body: body}, &answer)
	return err
}

// Follow calls tell with the events that there are and then with each that happens,
// until ctx ends or tell returns an error, which Follow then returns. An event of kind
// events.Missed stands for those that nobody will know any more. When the stream breaks
// off, Follow tries to go on where it was until it can or is refused; only a first
// stream that does not come about is an error.
func (c *Client) Follow(ctx context.Context, w EventsWanted, tell func(events.Event) error) error {
	f := &following{client: c, wanted: w, tell: tell}
	for {
		err := f.stream(ctx)
		refused, _ := errors.AsType[*Error](err)
		switch {
		case f.failed != nil:
			return f.failed
		case ctx.Err() != nil:
			return ctx.Err()
		case refused != nil && refused.Final(), err != nil && !f.begun:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(comeBack):
		}
	}
}

// following is a Follow.
type following struct {
	client *Client
	wanted EventsWanted
	tell   func(events.Event) error
	last   string // the ID that was read last; "": none
	begun  bool   // there was a stream
	failed error  // of tell
}

// stream reads one stream to its end.
func (f *following) stream(ctx context.Context) error {
	asked := stream{path: "/events", query: f.wanted.query(), last: f.last, silence: deadAfter, begun: func() { f.begun = true }}
	return f.client.read(ctx, asked, f.line)
}

// line takes in a line of a stream. An event's is data and stands behind its ID.
func (f *following) line(text string) error {
	if id, ok := strings.CutPrefix(text, "id: "); ok {
		f.last = id
	}
	data, ok := strings.CutPrefix(text, "data: ")
	if !ok {
		return nil
	}
	var e events.Event
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return fmt.Errorf("%s does not stream events: %w", f.client.address, err)
	}
	f.failed = f.tell(e)
	return f.failed
}
