package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// password is bob's.
const password = "opensesame"

// try serves on a throwaway realm, and prints how alice and bob, who have tickets,
// visit.
func try(o options) (err error) {
	if o.host != "localhost" {
		return errors.New("-try is for this machine alone, and excludes -host")
	}
	r, err := realm.Start("HTTP/localhost")
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
	alice := strings.TrimPrefix(os.Getenv("KRB5CCNAME"), "FILE:")
	return serve(o, func(url string, c *realm.Certificate) { explain(o, r, alice, bob, url, c) })
}

// explain prints commands for another terminal.
func explain(o options, r *gsstest.Realm, alice, bob, url string, c *realm.Certificate) {
	curl, client, chromium := "curl", "go run ./httpclient -plain", "chromium --auth-server-allowlist=localhost"
	if c != nil {
		curl = "curl --cacert " + c.File
		client = "go run ./httpclient -cacert " + c.File
		chromium += " --ignore-certificate-errors-spki-list=" + c.Pin
	}
	fmt.Printf("\nIn another terminal, in this directory:\n\n  export KRB5_CONFIG=%s\n", r.Krb5Conf())
	for _, u := range []struct{ name, ccache string }{{"alice", alice}, {"bob", bob}} {
		fmt.Printf("\nas %s:\n\n  export KRB5CCNAME=%s\n  %s %s\n", u.name, u.ccache, client, url)
		if o.bound {
			continue
		}
		fmt.Printf("  %s --negotiate -u : %s\n  %s --user-data-dir=%s %s\n",
			curl, url, chromium, filepath.Join(r.Dir(), "chromium-"+u.name), url)
	}
	if o.password {
		fmt.Printf("\nwith a password:\n\n  %s -u bob:%s %s\n", curl, password, url)
	}
	fmt.Printf("\nas nobody, who is refused:\n\n  %s -i %s\n", curl, url)
	if o.bound {
		fmt.Print("\nThe tokens of curl and Chromium are bound to nothing, so that they are refused too.\n")
	} else {
		fmt.Print("\nChromium loads Kerberos only after the first server has asked for it: start it twice.\n")
	}
	fmt.Print("\nCtrl-C ends the server and the realm.\n\n")
}
