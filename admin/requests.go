package admin

import (
	"cmp"
	"fmt"
	"mime"
	"net/http"
)

// What the bodies and queries of changes may say; patchFields of uploads and patches
// under /v1.
var (
	uploadFields = []string{"pool", "server", "weight", "max_connections"}
	deleteFields = []string{"pool", "server", "weight", "max_connections", "force"}
	patchFields  = []string{"weight", "max_connections"}
	deleteParams = []string{"pool", "server", "force", "dry_run"}
	dryParams    = []string{"dry_run"}
)

// readUpload reads the request of POST /upload_server.
func readUpload(w http.ResponseWriter, r *http.Request) (c ServerChange, err error) {
	said, body, err := readChange(w, r, dryParams)
	if err != nil {
		return c, err
	}
	if len(body) == 0 {
		return c, Invalid(`the body is empty; send a JSON object such as {"pool": "web", "server": "127.0.0.1:9003"}`)
	}
	dryRun := said.dryRun
	if said, err = decode(body, uploadFields); err != nil {
		return c, err
	}
	if said.server == nil {
		return c, Invalid(`field "server" is missing; give the server's host:port`)
	}
	said.dryRun = dryRun
	return said.of(Upload, r)
}

// readDelete reads the request of DELETE /delete_server, whose body, query or
// both together say which server. What both say must be the same.
func readDelete(w http.ResponseWriter, r *http.Request) (c ServerChange, err error) {
	query, body, err := readChange(w, r, deleteParams)
	if err != nil {
		return c, err
	}
	said := change{dryRun: query.dryRun}
	if len(body) > 0 {
		if said, err = decode(body, deleteFields); err != nil {
			return c, err
		}
		said.weight, said.maxConnections, said.dryRun = nil, nil, query.dryRun
	}
	err = cmp.Or(
		agree("pool", &said.pool, query.pool),
		agree("server", &said.server, query.server),
		agree("force", &said.force, query.force),
	)
	if err != nil {
		return c, err
	}
	if said.server == nil {
		return c, Invalid(`"server" is missing; give the server's host:port in the body or as ?server=`)
	}
	return said.of(Delete, r)
}

// readChange reads the query, which may have these parameters, and the body of a
// request that changes something.
func readChange(w http.ResponseWriter, r *http.Request, params []string) (query change, body []byte, err error) {
	if query, err = decodeQuery(r.URL.RawQuery, params); err == nil {
		body, err = readBody(w, r)
	}
	return query, body, err
}

// of returns the change that a request says.
func (c change) of(action Action, r *http.Request) (ServerChange, error) {
	condition, err := readCondition(r)
	return ServerChange{
		Action:         action,
		Pool:           or(c.pool, ""),
		Server:         or(c.server, ""),
		Weight:         c.weight,
		MaxConnections: c.maxConnections,
		Force:          or(c.force, false),
		If:             condition,
		DryRun:         or(c.dryRun, false),
	}, err
}

// readReload reads the request of POST /reload, which has no body.
func readReload(w http.ResponseWriter, r *http.Request) (c Condition, dryRun bool, err error) {
	query, body, err := readChange(w, r, dryParams)
	if err == nil && len(body) > 0 {
		err = Invalid("a body is not allowed here; what is reloaded is the config file, and ?dry_run=true only says what that changes")
	}
	if err == nil {
		c, err = readCondition(r)
	}
	return c, or(query.dryRun, false), err
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
