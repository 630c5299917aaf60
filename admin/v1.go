package admin

import (
	_ "embed"
	"fmt"
	"mime"
	"net/http"
)

// patchFields are what the body of an upload or patch under /v1 may say.
var patchFields = []string{"weight", "max_connections"}

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
	config := h.controller.Config()
	return answerTagged(w, ETagOf(config), config)
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

// readResourceChange reads a change under /v1. Only uploads and patches have a body.
func readResourceChange(w http.ResponseWriter, r *http.Request, action Action) (c ServerChange, err error) {
	params := dryParams
	if action == Delete {
		params = []string{"force", "dry_run"}
	}
	query, body, err := readChange(w, r, params)
	if err != nil {
		return c, err
	}
	said := query
	switch {
	case len(body) == 0 && action == Patch:
		return c, Invalid(`the body is empty; send a JSON object such as {"weight": 2}, with the fields %s`, list(patchFields))
	case len(body) == 0:
	case action != Upload && action != Patch:
		return c, Invalid("a body is not allowed here")
	default:
		if err := wantJSON(r, action); err != nil {
			return c, err
		}
		if said, err = decode(body, patchFields); err != nil {
			return c, err
		}
		said.force, said.dryRun = query.force, query.dryRun
	}
	pool := r.PathValue("pool")
	said.pool = &pool
	if server := r.PathValue("server"); server != "" {
		said.server = &server
	}
	return said.of(action, r)
}

// wantJSON refuses a body that says it is something else. A patch is one by RFC 7396
// too: what it does not say stays, and there is nothing that null could remove.
func wantJSON(r *http.Request, action Action) error {
	const asJSON, asPatch = "application/json", "application/merge-patch+json"
	given := r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(given)
	if given == "" || err == nil && (kind == asJSON || kind == asPatch && action == Patch) {
		return nil
	}
	return &Refusal{http.StatusUnsupportedMediaType, fmt.Sprintf("the Content-Type is %s; send %s", clip(given), asJSON)}
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
