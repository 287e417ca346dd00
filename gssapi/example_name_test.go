package gssapi_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/seed2651813c/gss/gssapi"
)

// peer is the name of a client.
func peer() *gssapi.Name {
	_, server := established(nil)
	info, err := server.Info()
	check(err)
	return info.Peer()
}

// What the KDC says of the peer is in the attributes of his name. MIT.
func ExampleName_Attribute() {
	name := peer()
	attrs, err := name.Attributes()
	check(err)
	fmt.Println("has a PAC:", slices.Contains(attrs.Names, "urn:mspac:"))
	values, err := name.Attribute("urn:mspac:")
	check(err)
	for _, v := range values {
		if v.Authenticated { // access is decided by such values only
			fmt.Println("verified, and not empty:", len(v.Value) > 0)
		}
	}
	// Output:
	// has a PAC: true
	// verified, and not empty: true
}

// Which user of this machine the peer is, by the rules of krb5.conf. MIT and
// Heimdal.
func ExampleName_LocalName() {
	user, err := peer().LocalName(context.Background(), gssapi.MechKrb5)
	if errors.Is(err, gssapi.ErrNoLocalUser) {
		log.Fatal("nobody here")
	}
	check(err)
	fmt.Println(user)
	// Output: alice
}

// May the peer log in as the user that he says? MIT and Heimdal.
func ExampleName_MayLogIn() {
	login := func(ctx context.Context, peer *gssapi.Name, user string) error {
		ok, err := peer.MayLogIn(ctx, user)
		if err != nil {
			return err // a no as well
		}
		if !ok {
			return fmt.Errorf("%v may not log in as %s", peer, user)
		}
		return nil
	}
	_ = login
}

// What a mechanism is called, and what it can do. MIT, Heimdal and GNU gss, which
// knows the names alone.
func ExampleDescribeMech() {
	info, err := gssapi.DescribeMech(gssapi.MechKrb5)
	check(err)
	fmt.Println(info.SASLName)
	if slices.Contains(info.Known, gssapi.MACtxTrans) && !slices.Contains(info.Attributes, gssapi.MACtxTrans) {
		fmt.Println("its contexts cannot be exported")
	}
	// Output: GS2-KRB5
}

// The mechanism that a client of SASL asks for. MIT, Heimdal and GNU gss.
func ExampleMechForSASLName() {
	mech, err := gssapi.MechForSASLName("GS2-KRB5")
	check(err)
	fmt.Println(mech)
	_, err = gssapi.MechForSASLName("PLAIN")
	fmt.Println(errors.Is(err, gssapi.ErrBadMech))
	// Output:
	// 1.2.840.113554.1.2.2
	// true
}

// Mechanisms that negotiate others. MIT and Heimdal.
func ExampleMechanismsByAttributes() {
	mechs, err := gssapi.MechanismsByAttributes([]gssapi.OID{gssapi.MAMechNego}, nil, nil)
	check(err)
	fmt.Println(slices.Contains(mechs, gssapi.MechSPNEGO), slices.Contains(mechs, gssapi.MechKrb5))
	// Output: true false
}
