package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"fulcrum/events"
)

// EventsAnswer is the body of GET /events.
type EventsAnswer struct {
	Events []events.Event `json:"events"` // oldest first
	Missed int64          `json:"missed"` // how many came after the ID that was asked for and are forgotten by now, of all pools
}

// An eventsRequest says which events to show.
type eventsRequest struct {
	after int64  // only those after this ID; 0: all
	limit int    // the newest so many of those that there are; 0: all
	pool  string // only those of this pool; "": all
}

const lastEventID = "Last-Event-ID"

var eventsParams = []string{"after", "limit", "pool"}

// readEvents reads the request of GET /events. A client that comes back goes on after
// what it has got, wherever it had begun.
func readEvents(r *http.Request) (e eventsRequest, err error) {
	query, err := parameters(r.URL.RawQuery, eventsParams)
	if err != nil {
		return e, err
	}
	if text, given := query["after"]; given {
		if e.after, err = strconv.ParseInt(text, 10, 64); err != nil || e.after < 0 {
			return e, Invalid("after is %s; it must be the ID of an event", clip(text))
		}
	}
	if text, given := query["limit"]; given {
		if e.limit, err = strconv.Atoi(text); err != nil || e.limit < 1 {
			return e, Invalid("limit is %s; it must be a whole number from 1 on", clip(text))
		}
	}
	if text, given := query["pool"]; given {
		if _, err := bounded("pool", text); err != nil {
			return e, err
		}
		e.pool = text
	}
	if text := r.Header.Get(lastEventID); text != "" {
		if e.after, err = strconv.ParseInt(text, 10, 64); err != nil || e.after < 0 {
			return e, Invalid("%s is %s; it must be the ID of an event", lastEventID, clip(text))
		}
		e.limit = 0
	}
	return e, nil
}

// events answers with those that there are, or with a stream that begins with them.
func (h *handler) events(w http.ResponseWriter, r *http.Request) error {
	request, err := readEvents(r)
	if err != nil {
		return err
	}
	if asks(r, eventStream) {
		return h.streamEvents(w, r, request)
	}
	all, missed, _ := h.controller.Events().After(request.after)
	return answer(w, http.StatusOK, EventsAnswer{Events: request.wanted(all), Missed: missed})
}

// wanted returns those of some events that were asked for.
func (e *eventsRequest) wanted(all []events.Event) []events.Event {
	found := []events.Event{}
	for _, one := range all {
		if e.pool == "" || one.Pool == e.pool {
			found = append(found, one)
		}
	}
	if e.limit > 0 && len(found) > e.limit {
		found = found[len(found)-e.limit:]
	}
	return found
}

func (h *handler) streamEvents(w http.ResponseWriter, r *http.Request, e eventsRequest) error {
	s, err := h.openStream(w, r)
	if err != nil {
		return err
	}
	defer s.end()
	for ring := h.controller.Events(); ; {
		all, missed, more := ring.After(e.after)
		if err := s.add(e.wanted(all), missed); err != nil {
			return err
		}
		if s.buffer.Len() > 0 && !s.send() {
			return nil
		}
		if n := len(all); n > 0 {
			e.after = all[n-1].ID
		}
		e.limit = 0
		select {
		case <-more:
		case <-s.alive.C:
			if !s.send() {
				return nil
			}
		case <-s.ctx.Done():
			return nil
		}
	}
}

// add writes events into the stream's buffer.
func (s *stream) add(all []events.Event, missed int64) error {
	if missed > 0 {
		all = append([]events.Event{{At: time.Now(), Kind: events.Missed, Count: missed}}, all...)
	}
	for i := range all {
		text, err := json.Marshal(&all[i])
		if err != nil {
			return fmt.Errorf("encode an event: %w", err)
		}
		if id := all[i].ID; id != 0 {
			fmt.Fprintf(&s.buffer, "id: %d\n", id)
		}
		fmt.Fprintf(&s.buffer, "data: %s\n\n", text)
	}
	return nil
}
