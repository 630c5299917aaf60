package admin

import (
	"bytes"
	"context"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	eventStream = "text/event-stream"
	// silence is how long nothing at all may be sent on a stream: a client, or
	// somebody in between, would take it for dead.
	silence = 15 * time.Second
)

// A stream is an answer of server-sent events, as the HTML standard has them in
// section 9.2. It belongs to the goroutine of its request.
type stream struct {
	w       http.ResponseWriter
	conn    *http.ResponseController
	ctx     context.Context // ends when the client has left, the listener stops, or end is called
	end     func()
	silence time.Duration
	alive   *time.Ticker // when something has to be sent
	allowed func() bool  // reports whether the client still is
	head    bool         // only the head is asked for, and goes out with the first that is sent
	buffer  bytes.Buffer // what send sends
}

// openStream begins to answer with a stream; its end must be called. Clients that are
// cut off, because who may ask was read anew, come back by themselves.
func (h *handler) openStream(w http.ResponseWriter, r *http.Request) (*stream, error) {
	ctx, done, err := h.lasting.begin(w, r)
	if err != nil {
		return nil, err
	}
	access := h.guard.access.Load()
	s := &stream{
		w:       w,
		conn:    http.NewResponseController(w),
		ctx:     ctx,
		silence: h.silence,
		alive:   time.NewTicker(h.silence),
		allowed: func() bool { return h.guard.access.Load() == access },
		head:    r.Method == http.MethodHead,
	}
	s.end = func() {
		s.alive.Stop()
		done()
	}
	header := w.Header()
	header.Set("Content-Type", eventStream)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Accel-Buffering", "no")   // nginx would hold the events back
	s.buffer.WriteString("retry: 1000\n\n") // the client knows now that there is a stream
	return s, nil
}

// send sends what is in the buffer, or a comment if there is nothing, and reports
// whether the stream goes on.
func (s *stream) send() bool {
	if s.buffer.Len() == 0 {
		s.buffer.WriteString(":\n\n")
	}
	s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if s.ctx.Err() != nil || !s.allowed() { // looked at last: who ends it sets another deadline
		return false
	}
	_, err := s.w.Write(s.buffer.Bytes())
	s.buffer.Reset()
	s.alive.Reset(s.silence)
	return err == nil && s.conn.Flush() == nil && !s.head
}

// asks reports whether a request asks for a media type, which it names as it is.
func asks(r *http.Request, media string) bool {
	for _, accept := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(accept, ",") {
			if name, params, err := mime.ParseMediaType(one); err == nil && name == media && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}
