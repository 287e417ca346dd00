package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// password is bob's.
const password = "opensesame"

// try serves on a throwaway realm, and prints how alice and bob, who have tickets,
// visit.
func try(o options) (err error) {
	r, err := realm.Start("HTTP/" + o.host)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.AddPassword("bob", password); err != nil {
		return err
	}
	bob, err := r.Kinit("bob", nil)
	if err != nil {
		return err
	}
	users := []user{{"alice", os.Getenv("KRB5CCNAME")}, {"bob", bob}}
	return serve(o, func(url string, c *realm.Certificate) { explain(o, r, users, url, c) })
}

type user struct{ name, ccache string }

// explain prints commands for another terminal.
func explain(o options, r *gsstest.Realm, users []user, url string, c *realm.Certificate) {
	curl, chromium := "curl", "chromium --auth-server-allowlist="+o.host
	if c != nil {
		curl += " --cacert " + c.File
		chromium += " --ignore-certificate-errors-spki-list=" + c.Pin
	}
	if o.host != "localhost" { // which is known everywhere
		curl += fmt.Sprintf(" --connect-to %s::127.0.0.1:", o.host)
		chromium += fmt.Sprintf(" --host-resolver-rules='MAP %s 127.0.0.1'", o.host)
	}
	fmt.Printf("\nIn another terminal:\n\n  export KRB5_CONFIG=%s\n", r.Krb5Conf())
	for _, u := range users {
		fmt.Printf("\nas %s:\n\n", u.name)
		if !o.bound { // curl's tokens are not
			fmt.Printf("  KRB5CCNAME=%s %s --negotiate -u : %s\n", u.ccache, curl, url)
		}
		fmt.Printf("  KRB5CCNAME=%s %s --user-data-dir=%s %s\n", u.ccache, chromium, filepath.Join(r.Dir(), "chromium-"+u.name), url)
	}
	if o.password {
		fmt.Printf("\nwith a password:\n\n  %s -u bob:%s %s\n", curl, password, url)
	}
	fmt.Printf("\nas nobody, who is refused:\n\n  %s -i %s\n\nCtrl-C ends the server and the realm.\n\n", curl, url)
}
