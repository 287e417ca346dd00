package gsstest_test

import (
	"fmt"
	"log"
	"os"
	"os/exec"

	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// Without a test: a realm for a demonstration, in which alice gets a ticket for a service.
func Example() {
	realm, err := gsstest.Start(&gsstest.Options{Principals: []string{"alice", "host/server.test"}})
	if err != nil {
		log.Fatal(err)
	}
	defer realm.Close()

	ccache, err := realm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	if err != nil {
		log.Print(err)
		return
	}
	cmd := exec.Command("kvno", "host/server.test")
	cmd.Env = append(os.Environ(), realm.EnvFor(ccache, "")...)
	out, err := cmd.CombinedOutput()
	fmt.Printf("%s", out)
	if err != nil {
		log.Print(err)
	}
	// Output: host/server.test@TEST.GSS: kvno = 1
}
