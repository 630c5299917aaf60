package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	maxLasting = 32                     // far fewer than maxConnections, so that there always is room for short answers
	partingIn  = 100 * time.Millisecond // for the last bytes of an answer that Stop ends
)

// lasting bounds the answers that go on for long: streams, profiles.
type lasting struct {
	places chan struct{} // one element for each of them
	ctx    context.Context
	end    context.CancelFunc // ends them all, and keeps others from beginning
}

func newLasting() *lasting {
	ctx, end := context.WithCancel(context.Background())
	return &lasting{make(chan struct{}, maxLasting), ctx, end}
}

// begin takes a place for an answer, which is to end with ctx: when the client has left
// or the listener stops. done must be called in the end. The deadline of each write is
// the answer's own matter.
func (l *lasting) begin(w http.ResponseWriter, r *http.Request) (ctx context.Context, done func(), err error) {
	select {
	case l.places <- struct{}{}:
	default:
		w.Header().Set("Retry-After", "10")
		return nil, nil, &Refusal{http.StatusServiceUnavailable,
			fmt.Sprintf("%d streams and profiles are under way, the most that are allowed; try again later", maxLasting)}
	}
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(l.ctx, func() {
		cancel()
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(partingIn)) // should it hang in one
	})
	return ctx, func() {
		stop()
		cancel()
		<-l.places
	}, nil
}
