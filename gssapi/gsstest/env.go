package gsstest

import (
	"regexp"
	"strings"
	"testing"
)

// Names of files that are never made: what a library finds when the caller has not chosen.
const (
	noCcache       = "no-ccache"
	noKeytab       = "no-keytab"
	noClientKeytab = "no-client-keytab"
)

// Env returns the environment variables of a program that is to use the realm, as for [exec.Cmd.Env]:
//
//	cmd.Env = append(os.Environ(), r.Env()...)
//
// Of a variable that is there twice, exec.Cmd takes the last. They hold no secrets. The default
// credential cache, keytab and client keytab are files that do not exist: see EnvFor. (With a client
// keytab, MIT renews tickets by itself, and nothing ever expires.)
func (r *Realm) Env() []string { return r.EnvFor("", "") }

// EnvFor is Env with a credential cache, for initiators, and a keytab, for acceptors. Both are paths or
// have a type ("MEMORY:x"); empty: none.
func (r *Realm) EnvFor(ccache, keytab string) []string {
	if ccache == "" {
		ccache = r.path(noCcache)
	}
	if keytab == "" {
		keytab = r.path(noKeytab)
	}
	return []string{
		"KRB5_CONFIG=" + r.Krb5Conf(),
		"KRB5CCNAME=" + typed(ccache),
		"KRB5_KTNAME=" + typed(keytab),
		"KRB5_CLIENT_KTNAME=FILE:" + r.path(noClientKeytab),
		"KRB5RCACHEDIR=" + r.dir, // MIT: the replay cache is a file in there
		"KRB5RCACHENAME=dfl:",
	}
}

// Setenv sets the variables of Env in this process for the rest of the test, so that a C library in this
// process uses the realm. The testing package panics if the test or a parent of it is parallel.
func (r *Realm) Setenv(tb testing.TB) {
	tb.Helper()
	for _, kv := range r.Env() {
		k, v, _ := strings.Cut(kv, "=")
		tb.Setenv(k, v)
	}
}

// InitiatorStore returns the credential store for gss_acquire_cred_from that holds this credential cache.
// The library still finds the realm through KRB5_CONFIG.
func (r *Realm) InitiatorStore(ccache string) map[string]string {
	return map[string]string{"ccache": typed(ccache)}
}

// AcceptorStore returns the credential store for gss_acquire_cred_from that holds this keytab, and for
// MIT (1.18 and later) the realm's own replay cache.
func (r *Realm) AcceptorStore(keytab string) map[string]string {
	return map[string]string{"keytab": typed(keytab), "rcache": "file2:" + r.path("acceptor.rcache2")}
}

var hasType = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]+:`)

// typed adds FILE: to a path.
func typed(name string) string {
	if hasType.MatchString(name) {
		return name
	}
	return "FILE:" + name
}
