package supervisor

import (
	"fmt"

	"github.com/hashicorp/go-multierror"

	"fulcrum/admin"
	"fulcrum/config"
)

// prepareAdmin makes the admin listener, or keeps the one there is at the same
// address. Who may use it is read anew in any case. The error names every problem.
func (r *running) prepareAdmin(s *Supervisor, was *running) error {
	if r.config.Admin == nil {
		return nil
	}
	var problems *multierror.Error
	var err error
	if r.access, err = admin.NewAccess(accessOptions(r.config.Admin)); err != nil {
		problems = multierror.Append(problems, err)
	}
	if was.admin != nil && was.config.Admin.Address == r.config.Admin.Address {
		r.admin, r.socket, r.adminBorrowed = was.admin, was.socket, was.adminBorrowed
		if problems == nil { // where it is bound may be elsewhere than the config says
			return r.admin.Takes(r.access)
		}
		return problems
	}
	socket, err := r.listenAdmin()
	if err != nil {
		return multierror.Append(problems, fmt.Errorf("admin: %w", err))
	}
	if problems != nil {
		socket.Close()
		return problems
	}
	r.admin, err = admin.New(admin.Options{Listener: socket, Controller: s, Metrics: s.metrics, Access: r.access, Logger: r.log})
	if err != nil {
		socket.Close()
	}
	r.socket = socket
	return err
}

func accessOptions(c *config.Admin) admin.AccessOptions {
	o := admin.AccessOptions{Hosts: c.Hosts}
	for _, t := range c.Tokens {
		o.Tokens = append(o.Tokens, admin.TokenSource{Name: t.Name, ReadOnly: t.Access == config.AccessRead, File: t.File, Env: t.Env})
	}
	if files := c.TLS; files != nil {
		o.Certificate, o.Key, o.ClientCA = files.Certificate, files.Key, files.ClientCA
	}
	return o
}

// commitAdmin sets the admin listener going, or has the one that is kept go by the
// new rules.
func (r *running) commitAdmin(was *running) {
	switch r.admin {
	case nil:
	case was.admin:
		r.admin.Update(r.access)
	default:
		r.admin.Start()
	}
}
