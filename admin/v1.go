package admin

import (
	_ "embed"
	"fmt"
	"net/http"
)

//go:embed openapi.json
var openAPI []byte

// openAPI answers with the description of this API, by OpenAPI 3.1.
func (h *handler) openAPI(w http.ResponseWriter, _ *http.Request) error {
	write(w, http.StatusOK, "application/json", openAPI)
	return nil
}

func (h *handler) getPool(w http.ResponseWriter, r *http.Request) error {
	pool, err := h.controller.Pool(r.PathValue("pool"))
	if err != nil {
		return err
	}
	pool.Servers = orNone(pool.Servers)
	return answerTagged(w, pool.ETag(), pool)
}

func (h *handler) getServers(w http.ResponseWriter, r *http.Request) error {
	pool, err := h.controller.Pool(r.PathValue("pool"))
	if err != nil {
		return err
	}
	return answerTagged(w, pool.ETag(), ServersOfPool{orNone(pool.Servers)})
}

func (h *handler) getServer(w http.ResponseWriter, r *http.Request) error {
	server, err := h.controller.Server(r.PathValue("pool"), r.PathValue("server"))
	if err != nil {
		return err
	}
	return answerTagged(w, server.ETag(), server)
}

func (h *handler) getListener(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	var names []string
	for _, l := range h.controller.Listeners() {
		if l.Name == name {
			return answer(w, http.StatusOK, l)
		}
		names = append(names, l.Name)
	}
	return NotFound("listener %s does not exist; use one of: %s", clip(name), list(names))
}

func (h *handler) config(w http.ResponseWriter, _ *http.Request) error {
	config, etag := h.controller.Config()
	return answerTagged(w, etag, config)
}

func (h *handler) status(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, h.controller.Status())
}

// answerTagged sends a resource with its entity tag.
func answerTagged(w http.ResponseWriter, tag string, body any) error {
	w.Header().Set("ETag", tag)
	return answer(w, http.StatusOK, body)
}

// orNone has no servers be [] in JSON.
func orNone(servers []Server) []Server {
	if servers == nil {
		return []Server{}
	}
	return servers
}

// changes returns what serves a change of a server or pool that the path names.
func (h *handler) changes(action Action) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		c, err := readResourceChange(w, r, action)
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
		return answer(w, status, ChangeAnswer{
			Pool:    done.Pool,
			Server:  done.Server,
			Created: done.Created,
			Changes: done.Changes,
			DryRun:  c.DryRun,
		})
	}
}

// change has the Controller make a change, logs it and sets the entity tag of what it
// is about.
func (h *handler) change(w http.ResponseWriter, r *http.Request, c ServerChange) (Changed, error) {
	ctx, cancel := h.changing()
	defer cancel()
	done, err := h.controller.Change(ctx, c)
	if err != nil {
		return done, fmt.Errorf("%s server %s of pool %s: %w", c.Action, clip(c.Server), clip(c.Pool), err)
	}
	if done.Changes == nil {
		done.Changes = []string{}
	}
	if done.ETag != "" {
		w.Header().Set("ETag", done.ETag)
	}
	if !c.DryRun {
		h.logChange(r, c, done)
	}
	return done, nil
}

// past is what the log says of each Action.
var past = map[Action]string{
	Upload: "server uploaded", Patch: "server changed", Delete: "server deleted", Drain: "server drains", Undrain: "server undrained",
}

func (h *handler) logChange(r *http.Request, c ServerChange, done Changed) {
	what, of := past[c.Action], []any{"pool", done.Pool, "server", done.Server}
	if done.Server == "" {
		what, of = "pool"+what[len("server"):], []any{"pool", done.Pool, "servers", len(done.Changes)}
	}
	if c.Weight != nil {
		of = append(of, "weight", *c.Weight)
	}
	if c.MaxConnections != nil {
		of = append(of, "max_connections", *c.MaxConnections)
	}
	switch c.Action {
	case Upload:
		of = append(of, "created", done.Created)
	case Delete:
		of = append(of, "force", c.Force)
	}
	h.changed(r, what, of...)
}
