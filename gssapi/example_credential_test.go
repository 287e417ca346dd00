package gssapi_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seed2651813c/gss/gssapi"
)

// Tickets of another ccache than the user's. MIT and Heimdal.
func ExampleAcquire_ccache() {
	cred, err := gssapi.Acquire(context.Background(), &gssapi.CredentialOptions{
		CCache: os.Getenv("KRB5CCNAME"), // such as FILE:/tmp/cc
	})
	check(err)
	info, err := cred.Info(context.Background())
	check(err)
	fmt.Println(info.Name, info.Usage)
	// Output: alice@TEST.GSS initiate
}

// Tickets and keys of named files, for a service that is a client too. MIT.
func ExampleAcquire_store() {
	cred, err := gssapi.Acquire(context.Background(), &gssapi.CredentialOptions{
		Usage: gssapi.Both,
		Store: map[string]string{
			"ccache": os.Getenv("KRB5CCNAME"),  // such as FILE:/tmp/cc
			"keytab": os.Getenv("KRB5_KTNAME"), // such as FILE:/etc/app.keytab
		},
	})
	check(err)
	info, err := cred.Info(context.Background())
	check(err)
	fmt.Println(info.Name, info.Usage)
	// Output: alice@TEST.GSS both
}

// SPNEGO with this credential ends in Kerberos, and in nothing else. MIT; on other
// libraries the NegMechs of InitiatorOptions do it.
func ExampleAcquire_negMechs() {
	cred, err := gssapi.Acquire(context.Background(), &gssapi.CredentialOptions{
		Mechs:    []gssapi.OID{gssapi.MechSPNEGO},
		NegMechs: []gssapi.OID{gssapi.MechKrb5},
	})
	check(err)
	_, server := established(&gssapi.InitiatorOptions{Credential: cred, Mech: gssapi.MechSPNEGO})
	info, err := server.Info()
	check(err)
	fmt.Println(info.Mech == gssapi.MechKrb5)
	// Output: true
}

// The keys of a service in a file that is named. MIT and Heimdal.
func ExampleAcquireKrb5() {
	cred, err := gssapi.AcquireKrb5(context.Background(), &gssapi.Krb5Options{
		Keytab: os.Getenv("KRB5_KTNAME"), // such as FILE:/etc/app.keytab
	})
	check(err)
	target, err := gssapi.HostService("host", "server.test")
	check(err)
	err = handshake(gssapi.NewInitiator(target, nil), gssapi.NewAcceptor(&gssapi.AcceptorOptions{Credential: cred}))
	fmt.Println(err)
	// Output: <nil>
}

// delegatedTo is what a client delegates to a service.
func delegatedTo() *gssapi.Credential {
	_, server := established(&gssapi.InitiatorOptions{Flags: gssapi.FlagDeleg})
	return server.Delegated()
}

// What a client delegated goes to a program, which finds it by its environment. MIT
// and Heimdal.
func ExampleCredential_CopyToCCache() {
	delegated := delegatedTo()
	dir, err := os.MkdirTemp("", "ccache-") // for its owner alone
	check(err)
	defer os.RemoveAll(dir)
	ccache := "FILE:" + filepath.Join(dir, "cc")
	check(delegated.CopyToCCache(context.Background(), ccache))
	// cmd.Env = append(os.Environ(), "KRB5CCNAME="+ccache)

	there, err := gssapi.Acquire(context.Background(), &gssapi.CredentialOptions{CCache: ccache})
	check(err)
	info, err := there.Info(context.Background())
	check(err)
	fmt.Println(info.Name)
	// Output: alice@TEST.GSS
}

// The same with a credential store. MIT.
func ExampleCredential_Store() {
	delegated := delegatedTo()
	dir, err := os.MkdirTemp("", "ccache-")
	check(err)
	defer os.RemoveAll(dir)
	err = delegated.Store(context.Background(), &gssapi.StoreOptions{
		Overwrite: true,
		Store:     map[string]string{"ccache": "FILE:" + filepath.Join(dir, "cc")},
	})
	fmt.Println(err)
	// Output: <nil>
}

// A credential goes to another process on this host. MIT and Heimdal.
func ExampleCredential_Export() {
	token, err := delegatedTo().Export(context.Background())
	check(err)
	defer clear(token) // it holds the session key
	// ... over a channel that nobody else can read or write ...
	cred, err := gssapi.ImportCredential(token)
	check(err)
	info, err := cred.Info(context.Background())
	check(err)
	fmt.Println(info.Name)
	// Output: alice@TEST.GSS
}

// A service speaks for a user who logged in to it by other means (S4U2Self), and to
// the services that the KDC lets it delegate to (S4U2Proxy). MIT.
func ExampleCredential_Impersonate() {
	ctx := context.Background()
	name, err := gssapi.ImportName("host/server.test", gssapi.NTKrb5PrincipalName)
	check(err)
	service, err := gssapi.Acquire(ctx, &gssapi.CredentialOptions{
		Name: name,
		Store: map[string]string{ // its own tickets, by its key
			"client_keytab": os.Getenv("KRB5_KTNAME"),
			"ccache":        "MEMORY:service",
		},
	})
	check(err)
	user, err := gssapi.ImportName("bob", gssapi.NTUserName)
	check(err)
	bob, err := service.Impersonate(ctx, user, nil)
	check(err)

	_, server := established(&gssapi.InitiatorOptions{Credential: bob})
	info, err := server.Info()
	check(err)
	fmt.Println(info.Peer())
	// Output: bob@TEST.GSS
}

// Kerberos of another realm than the configured one, for the calls of a function.
// Heimdal.
func ExampleThreadSettings() {
	s := &gssapi.ThreadSettings{DefaultRealm: "OTHER.TEST"}
	err := s.Run(func() error {
		name, err := gssapi.ImportName("alice", gssapi.NTUserName)
		if err != nil {
			return err
		}
		principal, err := name.Canonicalize(context.Background(), gssapi.MechKrb5)
		if err != nil {
			return err
		}
		fmt.Println(principal)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: alice@OTHER.TEST
}
