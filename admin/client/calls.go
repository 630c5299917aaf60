package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"fulcrum/admin"
)

// List returns every pool with its servers.
func (c *Client) List(ctx context.Context) ([]admin.Pool, error) {
	var answer admin.ServersAnswer
	_, err := c.call(ctx, request{method: http.MethodGet, path: "/servers"}, &answer)
	return answer.Pools, err
}

// Listeners returns every listener.
func (c *Client) Listeners(ctx context.Context) ([]admin.ListenerInfo, error) {
	var answer admin.ListenersAnswer
	_, err := c.call(ctx, request{method: http.MethodGet, path: "/listeners"}, &answer)
	return answer.Listeners, err
}

// Server returns a server of a pool, and the ETag by which a Change can make sure
// that nothing else has changed it since. The pool may be "" if there is only one.
func (c *Client) Server(ctx context.Context, pool, server string) (found admin.Server, etag string, err error) {
	path, err := c.resource(ctx, pool, server)
	if err != nil {
		return found, "", err
	}
	etag, err = c.call(ctx, request{method: http.MethodGet, path: path}, &found)
	return found, etag, err
}

// Config returns the config as it runs, in JSON.
func (c *Client) Config(ctx context.Context) (config json.RawMessage, err error) {
	_, err = c.call(ctx, request{method: http.MethodGet, path: "/v1/config"}, &config)
	return config, err
}

// Status returns what there is to say of the whole balancer.
func (c *Client) Status(ctx context.Context) (status admin.Status, err error) {
	_, err = c.call(ctx, request{method: http.MethodGet, path: "/v1/status"}, &status)
	return status, err
}

// Listener returns one listener.
func (c *Client) Listener(ctx context.Context, name string) (found admin.ListenerInfo, err error) {
	_, err = c.call(ctx, request{method: http.MethodGet, path: "/v1/listeners/" + url.PathEscape(name)}, &found)
	return found, err
}

// Change makes a change, whose If is not looked at: with an ETag in ifMatch it is made
// only if that is still the server's, or the pool's. The pool may be "" if there is
// only one. The ETag that is returned is that after the change.
func (c *Client) Change(ctx context.Context, change admin.ServerChange, ifMatch string) (answer admin.ChangeAnswer, etag string, err error) {
	r := request{query: url.Values{"dry_run": {strconv.FormatBool(change.DryRun)}}, ifMatch: ifMatch}
	if r.path, err = c.resource(ctx, change.Pool, change.Server); err != nil {
		return answer, "", err
	}
	switch change.Action {
	case admin.Upload:
		r.method = http.MethodPut
	case admin.Patch:
		r.method = http.MethodPatch
	case admin.Delete:
		r.method = http.MethodDelete
		r.query.Set("force", strconv.FormatBool(change.Force))
	default:
		r.method = http.MethodPost
		r.path += "/" + string(change.Action)
	}
	if r.method == http.MethodPut || r.method == http.MethodPatch {
		if r.body, err = json.Marshal(settings{change.Weight, change.MaxConnections}); err != nil {
			return answer, "", fmt.Errorf("encode the request: %w", err)
		}
	}
	etag, err = c.call(ctx, r, &answer)
	return answer, etag, err
}

// settings is the body of an upload or patch.
type settings struct {
	Weight         *int `json:"weight,omitempty"`
	MaxConnections *int `json:"max_connections,omitempty"`
}

// resource returns the path of a server, or with a server of "" that of a pool.
func (c *Client) resource(ctx context.Context, pool, server string) (path string, err error) {
	if pool == "" {
		if pool, err = c.OnlyPool(ctx); err != nil {
			return "", err
		}
	}
	path = "/v1/pools/" + url.PathEscape(pool)
	if server != "" {
		path += "/servers/" + url.PathEscape(server)
	}
	return path, nil
}

// OnlyPool returns the name of the pool if there is one only. The error is like that
// of the admin listener.
func (c *Client) OnlyPool(ctx context.Context) (name string, err error) {
	pools, err := c.List(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, p := range pools {
		names = append(names, p.Name)
	}
	switch len(names) {
	case 0:
		return "", &Error{http.StatusNotFound, "there is no pool"}
	case 1:
		return names[0], nil
	}
	return "", &Error{http.StatusBadRequest, "pool is missing; use one of: " + strings.Join(names, ", ")}
}

// Reload has the balancer go over to its config file as it is now, or with dryRun
// only say what that would change.
func (c *Client) Reload(ctx context.Context, dryRun bool) (admin.ReloadAnswer, error) {
	var answer admin.ReloadAnswer
	query := url.Values{"dry_run": {strconv.FormatBool(dryRun)}}
	_, err := c.call(ctx, request{method: http.MethodPost, path: "/reload", query: query}, &answer)
	return answer, err
}

// Drain takes the balancer out of use, or changes the deadline of that.
func (c *Client) Drain(ctx context.Context, r admin.DrainRequest) (admin.DrainAnswer, error) {
	var answer admin.DrainAnswer
	query := url.Values{"dry_run": {strconv.FormatBool(r.DryRun)}}
	if r.Timeout != nil {
		query.Set("timeout", r.Timeout.String())
	}
	_, err := c.call(ctx, request{method: http.MethodPost, path: "/drain", query: query}, &answer)
	return answer, err
}

// Upgrade has another process take the place of the balancer's, which takes up to half
// a minute.
func (c *Client) Upgrade(ctx context.Context) (admin.UpgradeAnswer, error) {
	var answer admin.UpgradeAnswer
	patient := *c
	http := *c.http
	http.Timeout = upgradeTimeout
	patient.http = &http
	_, err := patient.call(ctx, request{method: "POST", path: "/upgrade"}, &answer)
	return answer, err
}

// Undrain ends that, or with dryRun only says what the answer would be.
func (c *Client) Undrain(ctx context.Context, dryRun bool) (admin.DrainAnswer, error) {
	var answer admin.DrainAnswer
	query := url.Values{"dry_run": {strconv.FormatBool(dryRun)}}
	_, err := c.call(ctx, request{method: http.MethodPost, path: "/undrain", query: query}, &answer)
	return answer, err
}
