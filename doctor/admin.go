package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"fulcrum/config"
)

const expiresSoon = 21 * 24 * time.Hour

// admin looks at who can reach the admin listener, and what they could do there.
func admin(h *Host, c *config.Config) (findings []Finding) {
	a := c.Admin
	if a == nil {
		return []Finding{{
			Level: Info,
			What:  "there is no admin listener",
			Why:   "nobody can see how the balancer is, nor upload, drain or delete a server",
			Do:    `"admin": {}   # at ` + config.DefaultAdminAddress + ", for this machine only",
		}}
	}
	switch reached := !local(a.Address); {
	case reached && a.TLS == nil:
		findings = append(findings, Finding{
			Level: Problem,
			What:  fmt.Sprintf("the admin listener at %s can be reached from elsewhere without TLS", a.Address),
			Why:   "tokens go over the network as they are, and who sees one can do what its owner can",
			Do:    `"admin": {"tls": {"certificate": "/etc/fulcrum/admin.pem", "key": "/etc/fulcrum/admin.key"}, ...}` + "\n" + `or "admin": {"address": "` + config.DefaultAdminAddress + `"}, and ssh to come there`,
		})
	case reached:
		findings = append(findings, Finding{
			Level: Info,
			What:  fmt.Sprintf("the admin listener at %s can be reached from elsewhere", a.Address),
			Why:   "those who are asked for a token or certificate can still keep it busy",
			Do:    "let a firewall have nobody else come there than those who are to",
		})
	case !strings.HasPrefix(a.Address, "unix:") && len(a.Tokens) == 0 && (a.TLS == nil || a.TLS.ClientCA == ""):
		findings = append(findings, Finding{
			Level: Info,
			What:  fmt.Sprintf("the admin listener at %s asks nobody who they are", a.Address),
			Why:   "every user and program of this machine can take servers out",
			Do:    `"admin": {"address": "unix:/run/fulcrum/admin.sock"}   # for those who may write to it` + "\n" + `or "tokens" in "admin"`,
		})
	}
	findings = append(findings, certificate(h, a.TLS)...)
	if len(findings) == 0 {
		return fine("the admin listener at %s is for those who may", a.Address)
	}
	return findings
}

// certificate looks at until when the admin listener's is valid.
func certificate(h *Host, files *config.AdminTLS) []Finding {
	if files == nil {
		return nil
	}
	name, err := inRoot(files.Certificate)
	if err != nil {
		return unknown(err)
	}
	text, err := h.text(name)
	if err != nil {
		return unknown(err)
	}
	block, rest := pem.Decode([]byte(text))
	for block != nil && block.Type != "CERTIFICATE" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return unknown(fmt.Errorf("/%s holds no certificate", name))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return unknown(fmt.Errorf("/%s holds no certificate: %w", name, err))
	}
	f := Finding{
		Why: "clients refuse to talk to it from then on",
		Do:  "put a new one in the place of " + files.Certificate + ", then: fulcrum reload",
	}
	until := cert.NotAfter.UTC().Format(time.DateOnly)
	switch left := cert.NotAfter.Sub(h.Now); {
	case left < 0:
		f.Level, f.What = Problem, fmt.Sprintf("the admin listener's certificate has expired on %s", until)
	case left < expiresSoon:
		f.Level, f.What = Warning, fmt.Sprintf("the admin listener's certificate expires on %s", until)
	default:
		return nil
	}
	return []Finding{f}
}
