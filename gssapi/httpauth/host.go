package httpauth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/seed2651813c/gss/gssapi"
)

// Host is who gets tokens, and which.
type Host struct {
	// Name is a host as it stands in URLs (www.example.com, xn--..., or an address), all
	// hosts of a domain but not the domain itself (.example.com), or all (*). It may
	// have a port (www.example.com:8443, [::1]:8443); without, every port fits. The
	// case does not matter. Hosts in URLs that are not in ASCII fit nothing.
	Name string
	// Service is who the host must be, such as HTTP@alias.example.com or
	// HTTP/www.example.com@EXAMPLE.COM; empty is HTTP@ and the host in the URL.
	Service string
	// PlainHTTP gives tokens to the host without TLS too. Who can read and change
	// what goes over the network can then do as he likes with the requests, and relay
	// a token. It has no meaning for Transport.Proxies.
	PlainHTTP bool
	// Delegate gives the host a credential with which it can act for the user: name
	// only hosts that are trusted like the user himself. It is an error if the user's
	// ticket is not forwardable.
	Delegate bool
	// Preemptive sends every request with a token, and does not wait for the server to
	// ask: that saves a request and a response where no session cookies do. The server
	// has to prove who it is with every response then.
	Preemptive bool
	// WithoutMutual takes responses from servers that do not prove who they are,
	// which some cannot. TLS then is the only proof.
	WithoutMutual bool
	// WithoutBindings makes tokens that are good for any TLS connection, for servers
	// behind a proxy with another certificate than they believe. Else they are bound to
	// the server's certificate (tls-server-end-point, RFC 5929), if its signature
	// algorithm has bindings, and servers that do not know of bindings ignore that.
	WithoutBindings bool
}

// rule is a Host that was checked, and its name taken apart.
type rule struct {
	Host
	name string     // in lower case; of a domain with the dot; "" for all
	addr netip.Addr // if the name is an address
	port string     // "" for all
}

// rules checks the Hosts of a field.
func rules(field string, hosts []Host) ([]rule, error) {
	var all []rule
	for n, h := range hosts {
		r := rule{Host: h, name: strings.ToLower(h.Name)}
		err := r.parse()
		if err != nil {
			return nil, fmt.Errorf("httpauth: Transport.%s[%d], Name %q, Service %q: %w", field, n, h.Name, h.Service, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func (r *rule) parse() error {
	if strings.Contains(r.name, "/") {
		return errors.New("write the host alone, without a scheme and a path")
	}
	if host, port, err := net.SplitHostPort(r.name); err == nil {
		if r.name, r.port = host, port; port == "" {
			return errors.New("there is no port behind the colon")
		}
	} else if strings.HasPrefix(r.name, "[") && strings.HasSuffix(r.name, "]") {
		r.name = r.name[1 : len(r.name)-1]
	}
	r.addr, _ = netip.ParseAddr(r.name)
	r.name = strings.TrimSuffix(r.name, ".")
	switch {
	case r.addr.IsValid():
	case r.name == "*":
		r.name = ""
	case strings.Trim(r.name, ".") == "":
		return errors.New("there is no name: write a host, .domain or *")
	case strings.ContainsAny(r.name, "*:@[] \t?#"):
		return errors.New("write a host as in URLs, all of a domain as .example.com, or * for all")
	case !ascii(r.name):
		return errors.New("write the name as it is in DNS (xn--...)")
	}
	for _, c := range r.port {
		if c < '0' || c > '9' {
			return errors.New("the port is not a number")
		}
	}
	before, after, found := strings.Cut(r.Service, "/")
	if !found {
		before, after, found = strings.Cut(r.Service, "@")
	}
	if r.Service != "" && (!found || before == "" || after == "") {
		return errors.New("write a service as HTTP@www.example.com or HTTP/www.example.com@EXAMPLE.COM")
	}
	return nil
}

// find returns the first rule that fits the URL; nil if none does.
func find(rules []rule, u *url.URL) *rule {
	for n := range rules {
		if rules[n].fits(u) {
			return &rules[n]
		}
	}
	return nil
}

func (r *rule) fits(u *url.URL) bool {
	host := hostname(u)
	if host == "" || !ascii(host) || r.port != "" && r.port != port(u) {
		return false
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case r.name == "":
		return true
	case r.addr.IsValid() || err == nil:
		return r.addr == addr
	case r.name[0] == '.':
		return len(host) > len(r.name) && strings.HasSuffix(host, r.name)
	}
	return host == r.name
}

// service is the name of who must be at the URL.
func (r *rule) service(u *url.URL) (*gssapi.Name, error) {
	switch {
	case r.Service == "":
		return gssapi.HostService("HTTP", hostname(u))
	case strings.Contains(r.Service, "/"):
		return gssapi.ImportName(r.Service, gssapi.NTKrb5PrincipalName)
	}
	return gssapi.ImportName(r.Service, gssapi.NTHostBasedService)
}

// hostname is the host of the URL, in lower case, without brackets, port and a dot at
// its end.
func hostname(u *url.URL) string { return strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")) }

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

func ascii(s string) bool {
	for n := range len(s) {
		if s[n] <= ' ' || s[n] > '~' {
			return false
		}
	}
	return true
}
