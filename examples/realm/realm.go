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
// alice's tickets, which are forwardable, and the keytab of the service
// host@server.test and of others, such as HTTP/www.test. The library reads
// the environment, which is set here: Start comes before the first call of gssapi.
// Who called it closes the realm.
func Start(services ...string) (*gsstest.Realm, error) {
	library, err := gss.Library()
	if err != nil {
		return nil, err
	}
	if library.Kind == gss.KindGNU {
		return nil, errors.New("GNU gss does not read the realm's files: use MIT or Heimdal (GSSAPI_LIBRARY=mit or heimdal)")
	}
	services = append(services, "host/"+Host)
	r, err := gsstest.Start(&gsstest.Options{Principals: append([]string{"alice"}, services...)})
	if err != nil {
		return nil, err
	}
	if err := use(r, services); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func use(r *gsstest.Realm, services []string) error {
	ccache, err := r.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	if err != nil {
		return err
	}
	keytab, err := r.Keytab(services...)
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
