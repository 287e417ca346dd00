// Package realm starts a throwaway Kerberos realm for the process that it is in,
// for examples that are client and server in one.
package realm

import (
	"errors"
	"os"
	"strings"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// Host is where the service host of the realm is said to be.
const Host = "server.test"

// Start starts a realm, and makes the C library of this process use it, with
// alice's tickets and the keytab of the service host@server.test. The library reads
// the environment, which is set here: Start comes before the first call of gssapi.
// Who called it closes the realm.
func Start() (*gsstest.Realm, error) {
	library, err := gss.Library()
	if err != nil {
		return nil, err
	}
	if library.Kind == gss.KindGNU {
		return nil, errors.New("GNU gss does not read the realm's files: use MIT or Heimdal (GSSAPI_LIBRARY=mit or heimdal)")
	}
	r, err := gsstest.Start(&gsstest.Options{Principals: []string{"alice", "host/" + Host}})
	if err != nil {
		return nil, err
	}
	if err := use(r); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func use(r *gsstest.Realm) error {
	ccache, err := r.Kinit("alice", nil)
	if err != nil {
		return err
	}
	keytab, err := r.Keytab("host/" + Host)
	if err != nil {
		return err
	}
	for _, variable := range r.EnvFor(ccache, keytab) {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}
