package httpauth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed2651813c/gss/gssapi"
)

// BasicOptions are about clients that send a name and a password (RFC 7617), for
// which a ticket is acquired and proved against the acceptor's key, so that nobody
// who plays the KDC comes in. Each request with a password asks the KDC twice: see
// ServerOptions.Session. How often a password may be wrong is the KDC's policy.
type BasicOptions struct {
	// Realm is what browsers show; empty is "Kerberos".
	Realm string
	// Service is the name of this server, such as HTTP@www.example.com, for whose key
	// the proof is made. Empty: HTTP@ and the host that the request names, without its port;
	// a client that names another host is refused, for want of that one's key.
	Service string
	// KerberosRealms that names may have, as in alice@EXAMPLE.COM. None: names have no
	// realm. A name without one is of the library's default realm.
	KerberosRealms []string
	// PlainHTTP takes passwords without TLS too: everybody on the way can read them.
	PlainHTTP bool
}

// check returns the options with what they leave out.
func (o *BasicOptions) check() (*BasicOptions, error) {
	c := *o
	c.KerberosRealms = slices.Clone(o.KerberosRealms)
	if c.Realm == "" {
		c.Realm = "Kerberos"
	}
	for _, r := range c.Realm {
		if r < ' ' || r > '~' {
			return nil, fmt.Errorf("httpauth: Basic.Realm is %q: take letters of ASCII", c.Realm)
		}
	}
	if service, host, ok := strings.Cut(c.Service, "@"); c.Service != "" && (!ok || service == "" || host == "") {
		return nil, fmt.Errorf("httpauth: Basic.Service is %q: take a service and a host, as in HTTP@www.example.com", c.Service)
	}
	for _, realm := range c.KerberosRealms {
		if realm == "" || strings.ContainsAny(realm, "@/\\") {
			return nil, fmt.Errorf("httpauth: Basic.KerberosRealms has %q: take names of realms, as in EXAMPLE.COM", realm)
		}
	}
	return &c, nil
}

// challenge is the value of the header that asks for a password.
func (o *BasicOptions) challenge() string {
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(o.Realm)
	return `Basic realm="` + quoted + `", charset="UTF-8"`
}

// isBasic reports whether an Authorization header is of that scheme.
func isBasic(value string) bool {
	s, _, _ := strings.Cut(strings.Trim(value, " \t"), " ")
	return strings.EqualFold(s, "Basic")
}

// maxBasic is the length of the longest names and passwords that are taken.
const maxBasic = 1024

// basic takes a name and a password.
func (v *visit) basic() *refusal {
	h, o := v.h, v.h.o.Basic
	if !o.PlainHTTP && !h.secure(v.r) {
		return unauthorized(nil, errors.New("httpauth: a password came without TLS, where everybody on the way could read it: it was not looked at"))
	}
	user, password, ok := v.r.BasicAuth()
	if !ok {
		return unauthorized(nil, errors.New("httpauth: Authorization: Basic without a name and a password in base64"))
	}
	if err := o.checkUser(user, password); err != nil {
		return unauthorized(nil, err)
	}
	c, refused := h.prove(v.r, user, password)
	if refused != nil {
		return refused
	}
	defer c.Close()
	v.id, refused = identityOf(c, MethodBasic)
	return refused
}

// checkUser refuses what means another name than it looks like, or nothing, to a
// library. The error has neither of both.
func (o *BasicOptions) checkUser(user, password string) error {
	name, realm, hasRealm := strings.Cut(user, "@")
	bad := func(s string) bool {
		return len(s) > maxBasic || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
	}
	switch {
	case bad(user) || bad(password):
		return fmt.Errorf("httpauth: Basic: the name or the password is longer than %d bytes, has control characters or is no UTF-8", maxBasic)
	case name == "" || password == "":
		return errors.New("httpauth: Basic: the name or the password is empty")
	case strings.ContainsAny(name, `/\`):
		return errors.New("httpauth: Basic: the name has a / or a \\, which users' names have not")
	case hasRealm && !slices.Contains(o.KerberosRealms, realm):
		return errors.New("httpauth: Basic: the name has a realm that is not among KerberosRealms")
	}
	return nil
}

// service is the name for whose key a password is proved.
func (o *BasicOptions) service(r *http.Request) (*gssapi.Name, error) {
	if o.Service != "" {
		return gssapi.ImportName(o.Service, gssapi.NTHostBasedService)
	}
	return gssapi.HostService("HTTP", hostOf(r))
}

// prove gets a ticket for the server with the password and accepts it here. It returns
// the acceptor's context.
func (h *Handler) prove(r *http.Request, user, password string) (*gssapi.Context, *refusal) {
	ctx := r.Context()
	var trace *gssapi.Trace
	acceptor := gssapi.AcceptorOptions{}
	if h.o.Acceptor != nil {
		acceptor = *h.o.Acceptor
		trace = acceptor.Trace
	}
	acceptor.Mechs = []gssapi.OID{gssapi.MechKrb5}
	name, err := gssapi.ImportName(user, gssapi.NTUserName)
	if err != nil {
		return nil, h.blame(ctx, nil, fmt.Errorf("httpauth: Basic: %w", err))
	}
	defer name.Close()
	service, err := h.o.Basic.service(r)
	if err != nil {
		return nil, h.blame(ctx, nil, fmt.Errorf("httpauth: Basic: %w", err))
	}
	defer service.Close()
	credential, err := gssapi.Acquire(ctx, &gssapi.CredentialOptions{Name: name, Password: password, Mechs: []gssapi.OID{gssapi.MechKrb5}, Trace: trace})
	if err != nil {
		return nil, h.blame(ctx, nil, fmt.Errorf("httpauth: Basic: %w", err))
	}
	defer credential.Close()
	client := gssapi.NewInitiator(service, &gssapi.InitiatorOptions{Credential: credential, Flags: acceptor.Require, Trace: trace})
	defer client.Close()
	server := gssapi.NewAcceptor(&acceptor)
	var token []byte
	for !server.Established() {
		if token, err = client.Step(ctx, token); err != nil {
			server.Close()
			err = fmt.Errorf("httpauth: Basic: a ticket for %v, to prove that the KDC is the right one: %w", service, err)
			if e := (*gssapi.Error)(nil); h.o.Basic.Service != "" && errors.As(err, &e) && e.Minor == serviceNotKnown {
				return nil, unavailable(err) // no client has chosen that name
			}
			return nil, h.blame(ctx, nil, err)
		}
		if token, err = server.Step(ctx, token); err != nil {
			server.Close()
			return nil, h.blame(ctx, nil, fmt.Errorf("httpauth: Basic: the proof that the KDC has the key of %v: %w", service, err))
		}
	}
	return server, nil
}
