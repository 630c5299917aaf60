package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/urfave/cli/v2"

	"fulcrum/admin"
	"fulcrum/admin/client"
	"fulcrum/config"
)

// tokenVariable is where a token is found without --token-file.
const tokenVariable = "FULCRUM_TOKEN"

// adminFlags returns the flags of a command that asks a running balancer, with
// others of its own.
func adminFlags(others ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "admin", Value: config.DefaultAdminAddress, Usage: "`ADDRESS` of the balancer's admin listener: host:port, https://host:port or unix:/path"},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` that holds a token for it (default: the token in " + tokenVariable + ", if it is set)"},
		&cli.StringFlag{Name: "ca", Usage: "with https://, `FILE` of the authorities that its certificate may be from (default: the system's)"},
		&cli.StringFlag{Name: "cert", Usage: "with https://, `FILE` of a certificate to show to it"},
		&cli.StringFlag{Name: "key", Usage: "with --cert, `FILE` of its key"},
		jsonFlag,
	}, others...)
}

func newClient(c *cli.Context) (*client.Client, error) {
	token, err := token(c.String("token-file"))
	if err != nil {
		return nil, err
	}
	if c.IsSet("cert") != c.IsSet("key") {
		return nil, usagef("--cert and --key belong together; give both or none")
	}
	api, err := client.New(client.Options{
		Address:     c.String("admin"),
		Token:       token,
		CA:          c.String("ca"),
		Certificate: c.String("cert"),
		Key:         c.String("key"),
	})
	if err != nil {
		return nil, usagef("--admin: %w", err)
	}
	return api, nil
}

// token returns the token to send, "" if there is none.
func token(file string) (string, error) {
	if file != "" {
		secret, err := admin.ReadSecret(file)
		if err != nil {
			return "", usagef("--token-file: %w", err)
		}
		return secret, nil
	}
	text := os.Getenv(tokenVariable)
	if text == "" {
		return "", nil
	}
	secret, err := admin.CleanSecret(text)
	if err != nil {
		return "", usagef("%s in the environment: %w", tokenVariable, err)
	}
	return secret, nil
}

// advised adds to what a balancer, or its certificate, said what can be done about
// it on the command line.
func advised(err error) error {
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Status == http.StatusUnauthorized {
		return fmt.Errorf("%w; give one by --token-file FILE or in %s", err, tokenVariable)
	} else if ok && refusal.Status == http.StatusForbidden {
		return fmt.Errorf("%w; give another one by --token-file FILE or in %s", err, tokenVariable)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w; if that is the balancer's own, give it by --ca FILE", err)
	}
	return err
}
