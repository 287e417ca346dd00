package gsstest

import (
	"errors"
	"fmt"
)

// AllowDelegation lets a service act for users: the tickets to itself that it gets in their names
// (S4U2Self) are forwardable, and with those it may get tickets to the targets (S4U2Proxy, constrained
// delegation). Without it a service gets tickets to itself that go nowhere. The service and the targets
// are principals that exist. Calling it again with other targets replaces them.
//
// An MIT KDC keeps targets in LDAP only: with [MIT] the error is [errors.ErrUnsupported], use [MITLDAP].
func (r *Realm) AllowDelegation(service string, targets ...string) error {
	for _, p := range append([]string{service}, targets...) {
		if err := checkPrincipal(r.opts.KDC, p); err != nil {
			return err
		}
	}
	if r.opts.KDC == MIT && len(targets) > 0 {
		return fmt.Errorf("gsstest: constrained delegation to %q: an MIT KDC keeps its targets in LDAP: use Options{KDC: MITLDAP} or Heimdal: %w", targets, errors.ErrUnsupported)
	}
	if r.opts.KDC != Heimdal {
		_, err := r.Kadmin("modprinc +ok_to_auth_as_delegate " + quote(r.Principal(service)))
		if err == nil && len(targets) > 0 {
			err = r.setTargets(service, targets)
		}
		return err
	}
	command := "modify --attributes=+trusted-for-delegation"
	for _, t := range targets {
		command += " " + quote("--constrained-delegation="+r.Principal(t))
	}
	_, err := r.Kadmin(command + " " + quote(r.Principal(service)))
	return err
}
