package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	healthzPath = "/healthz"
	maxLogged   = 1024 // bytes of a client's text, or of an answer to it, in the log
)

// handler answers the requests.
type handler struct {
	base       context.Context // ends when the listener is stopped
	controller Controller
	guard      *guard
	metrics    http.Handler
	log        *slog.Logger
	lasting    *lasting
	silence    time.Duration // on streams
	leveling   sync.Mutex    // held while the level of the log is looked at and changed
	routes     []route
}

func newHandler(base context.Context, o Options, g *guard, long *lasting, log *slog.Logger) *handler {
	h := &handler{base: base, controller: o.Controller, guard: g, metrics: o.Metrics, lasting: long, silence: silence, log: log}
	h.routes = append(h.all(), parts()...)
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, err := h.guard.admit(w, r)
	if c, ok := callerOf(r); ok {
		if err = c.may(r.Method); err == nil {
			err = h.dispatch(w, r)
		}
	}
	if err != nil {
		h.refuse(w, r, err)
	}
}

func (h *handler) index(w http.ResponseWriter, _ *http.Request) error {
	var text bytes.Buffer
	text.WriteString("fulcrum admin listener\n\n")
	width := 0
	for _, route := range h.routes {
		width = max(width, len(route.path))
	}
	for _, route := range h.routes {
		if route.purpose == "" {
			continue
		}
		fmt.Fprintf(&text, "%-6s  %-*s  %s\n", route.method, width, route.path, route.purpose)
	}
	write(w, http.StatusOK, "text/plain; charset=utf-8", text.Bytes())
	return nil
}

func (h *handler) servers(w http.ResponseWriter, _ *http.Request) error {
	pools := h.controller.Pools()
	if pools == nil {
		pools = []Pool{}
	}
	for i := range pools {
		pools[i].Servers = orNone(pools[i].Servers)
	}
	return answer(w, http.StatusOK, ServersAnswer{pools})
}

func (h *handler) listeners(w http.ResponseWriter, _ *http.Request) error {
	listeners := h.controller.Listeners()
	if listeners == nil {
		listeners = []ListenerInfo{}
	}
	return answer(w, http.StatusOK, ListenersAnswer{listeners})
}

func (h *handler) scrape(w http.ResponseWriter, r *http.Request) error {
	if h.metrics == nil {
		return NotFound("there are no metrics here")
	}
	guardAgainstGuesses(w.Header())
	h.metrics.ServeHTTP(w, r)
	return nil
}

// healthz keeps the reason from strangers.
func (h *handler) healthz(w http.ResponseWriter, r *http.Request) error {
	if ok, reason := h.controller.Ready(); !ok {
		if c, _ := callerOf(r); c.stranger {
			reason = ""
		}
		return answer(w, http.StatusServiceUnavailable, HealthAnswer{Status: "unavailable", Reason: reason})
	}
	return answer(w, http.StatusOK, HealthAnswer{Status: "ok"})
}

func (h *handler) upload(w http.ResponseWriter, r *http.Request) error {
	c, err := readUpload(w, r)
	if err != nil {
		return err
	}
	done, err := h.change(w, r, c)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if done.Created && !c.DryRun {
		status = http.StatusCreated
	}
	return answer(w, status, UploadAnswer{Pool: done.Pool, Server: c.Server, Created: done.Created, DryAnswer: dryAnswer(c, done)})
}

func (h *handler) delete(w http.ResponseWriter, r *http.Request) error {
	c, err := readDelete(w, r)
	if err != nil {
		return err
	}
	done, err := h.change(w, r, c)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, DeleteAnswer{Pool: done.Pool, Server: c.Server, Draining: !c.Force, DryAnswer: dryAnswer(c, done)})
}

// dryAnswer is empty if the change was made.
func dryAnswer(c ServerChange, done Changed) DryAnswer {
	if !c.DryRun {
		return DryAnswer{}
	}
	return DryAnswer{Changes: done.Changes, DryRun: true}
}

func (h *handler) reload(w http.ResponseWriter, r *http.Request) error {
	condition, dryRun, err := readReload(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := h.changing()
	defer cancel()
	changes, err := h.controller.ReloadIf(ctx, condition, dryRun)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if !dryRun {
		h.changed(r, "config reloaded", "changes", len(changes))
	}
	if changes == nil {
		changes = []string{}
	}
	return answer(w, http.StatusOK, ReloadAnswer{Changes: changes, DryRun: dryRun})
}

// changing returns the context of a change. It does not end when the client
// hangs up: a change once begun is not left half done for that.
func (h *handler) changing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(h.base, changeTimeout)
}

// changed logs who has changed what. Each change calls it, before it is answered.
func (h *handler) changed(r *http.Request, what string, of ...any) {
	c, _ := callerOf(r)
	h.log.Info(what, append([]any{"who", c.name, "remote", c.remote}, of...)...)
}

// refuse answers with an error. Only a Refusal's reason is the client's to
// know; anything else goes to the log, as does every change that was refused to
// somebody who was let in.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := &Refusal{http.StatusInternalServerError, "internal error"}
	if known, ok := errors.AsType[*Refusal](err); ok && known.Status >= 400 && known.Status <= 599 {
		refusal = known
	}
	c, in := callerOf(r)
	about := []any{"who", c.name, "remote", c.remote, "method", shorten(r.Method), "path", shorten(r.URL.Path)}
	switch {
	case refusal.Status == http.StatusInternalServerError:
		h.log.Error("admin request failed", append(about, "error", err)...)
	case in && !reads(r.Method):
		h.log.Info("change refused", append(about, "status", refusal.Status, "reason", shorten(refusal.Reason))...)
	}
	if err := answer(w, refusal.Status, ErrorAnswer{refusal.Reason}); err != nil {
		h.log.Error("admin answer failed", "remote", c.remote, "error", err)
	}
}

// shorten returns as much of a text as the log should hold.
func shorten(s string) string {
	if len(s) <= maxLogged {
		return s
	}
	return strings.ToValidUTF8(s[:maxLogged], "") + "…"
}

// answer sends a JSON body, whole or not at all. The error says that body
// cannot be expressed as JSON; nothing was sent then.
func answer(w http.ResponseWriter, status int, body any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	write(w, status, "application/json", text.Bytes())
	return nil
}

// guardAgainstGuesses keeps browsers and caches from making more of an answer than it
// is.
func guardAgainstGuesses(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	guardAgainstGuesses(header)
	w.WriteHeader(status)
	io.Copy(w, bytes.NewReader(body)) // fails only when the client has gone
}
