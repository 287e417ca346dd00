// Ldap binds to an LDAP server by Kerberos, with go-ldap, encrypts the connection by
// that, without TLS, and prints who the server takes the user for:
//
//	go run ./ldap -addr ldap.example.com:389
//	go run ./ldap -try               with a realm and a server of its own
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"

	"github.com/go-ldap/ldap/v3"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi/ldapauth"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("ldap: ")
	addr := flag.String("addr", "localhost:389", "`host:port` of the server")
	attempt := flag.Bool("try", false, "start a realm and an LDAP server, and bind to that")
	flag.Parse()
	run := func() error {
		host, _, err := net.SplitHostPort(*addr)
		if err != nil {
			return err
		}
		return whoami(*addr, host)
	}
	if *attempt {
		run = try
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// try binds to a server that wants encryption.
func try() (err error) {
	r, err := realm.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s, err := startSlapd(r, "sasl-secprops minssf=56")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return whoami(s.ldap, realm.Host)
}

// whoami binds to the server at addr, which must be the host.
func whoami(addr, host string) error {
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	client := ldapauth.NewClient(nil)
	l := ldap.NewConn(client.Conn(raw), false)
	l.Start()
	defer l.Close()
	if err := l.GSSAPIBind(client, "ldap/"+host, ""); err != nil {
		return err
	}
	who, err := l.WhoAmI(nil)
	if err != nil {
		return err
	}
	fmt.Printf("the server says that this is %s, and the layer is %v\n", who.AuthzID, client.Layer())
	return nil
}
