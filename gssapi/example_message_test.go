package gssapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"

	"github.com/seed2651813c/gss/gssapi"
)

// handshake lets two ends in one process exchange their tokens. Over a network it
// is ExampleNewInitiator and ExampleNewAcceptor.
func handshake(client, server *gssapi.Context) error {
	for token := []byte(nil); !client.Established() || !server.Established(); {
		for _, c := range []*gssapi.Context{client, server} {
			if c.Established() {
				continue
			}
			var err error
			if token, err = c.Step(context.Background(), token); err != nil {
				return err
			}
		}
	}
	return nil
}

// established is both ends of a context.
func established(o *gssapi.InitiatorOptions) (client, server *gssapi.Context) {
	target, err := gssapi.HostService("host", "server.test")
	check(err)
	client, server = gssapi.NewInitiator(target, o), gssapi.NewAcceptor(nil)
	check(handshake(client, server))
	return client, server
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Keys for another protocol, which both ends make and nobody else can. MIT and
// Heimdal.
func ExampleContext_PseudoRandom() {
	client, server := established(nil)
	seed := []byte("EXPORTER example") // one for each purpose
	ours, err := client.PseudoRandom(gssapi.PRFKeyFull, seed, 32)
	check(err)
	theirs, err := server.PseudoRandom(gssapi.PRFKeyFull, seed, 32)
	check(err)
	fmt.Println(len(ours), bytes.Equal(ours, theirs))
	// Output: 32 true
}

// A message is encrypted where it lies, in a buffer that has room around it. MIT
// and Heimdal.
func ExampleContext_WrapInPlace() {
	client, server := established(nil)
	msg := []byte("hello")
	before, after, err := client.MessageRoom(len(msg), gssapi.Private)
	check(err)
	buf := make([]byte, before+len(msg)+after) // to be used again for the next
	copy(buf[before:], msg)

	token, err := client.WrapInPlace(buf, before, before+len(msg), gssapi.Private)
	check(err)

	got, protection, err := server.UnwrapInPlace(token)
	check(err)
	fmt.Printf("%s, %v\n", got, protection)
	// Output: hello, private
}

// A record with a header that both ends know: it is not sent with the token, and
// cannot be another. MIT and Heimdal.
func ExampleContext_AppendWrapAEAD() {
	client, server := established(nil)
	token, err := client.AppendWrapAEAD(nil, []byte("the record"), []byte("number 1"), gssapi.Private)
	check(err)

	got, protection, err := server.AppendUnwrapAEAD(nil, bytes.Clone(token), []byte("number 1"))
	check(err)
	fmt.Printf("%s, %v\n", got, protection)

	token, err = client.AppendWrapAEAD(nil, []byte("the record"), []byte("number 2"), gssapi.Private)
	check(err)
	_, _, err = server.AppendUnwrapAEAD(nil, token, []byte("number 3"))
	fmt.Println(errors.Is(err, gssapi.ErrBadMIC))
	// Output:
	// the record, private
	// true
}

// A message in parts: the head is readable and signed, the body encrypted in place,
// and header and trailer are the token's own. MIT and Heimdal.
func ExampleContext_WrapIOV() {
	client, server := established(nil)
	head := []byte("to: server.test")
	iov := []gssapi.IOVBuffer{
		{Type: gssapi.IOVHeader},
		{Type: gssapi.IOVSignOnly, Data: head},
		{Type: gssapi.IOVData, Data: []byte("hello")},
		{Type: gssapi.IOVPadding},
		{Type: gssapi.IOVTrailer},
	}
	check(client.WrapIOVLength(iov, gssapi.Private)) // allocates header and trailer
	check(client.WrapIOV(iov, gssapi.Private))

	// All parts but the head go to the peer, who adds his own.
	iov[1].Data = slices.Clone(head)
	protection, err := server.UnwrapIOV(iov)
	check(err)
	fmt.Printf("%s, %v\n", iov[2].Data, protection)
	// Output: hello, private
}

// The key of the context, for protocols such as SMB that make their own messages.
// MIT and Heimdal.
func ExampleContext_SessionKey() {
	client, server := established(nil)
	ours, err := client.SessionKey()
	check(err)
	defer ours.Clear()
	theirs, err := server.SessionKey()
	check(err)
	defer theirs.Clear()
	fmt.Println(ours, bytes.Equal(ours.Value, theirs.Value)) // the value is not printed
	// Output: gss.Key(enctype 18, 32 bytes) true
}

// What the KDC says of the user's groups, verified, for a decoder of MS-PAC. MIT and
// Heimdal.
func ExampleContext_PAC() {
	_, server := established(nil)
	pac, err := server.PAC()
	if errors.Is(err, gssapi.ErrUnavailable) {
		log.Fatal("the KDC issues none")
	}
	check(err)
	fmt.Println("there are groups to read:", len(pac) > 0)
	// Output: there are groups to read: true
}

// Other authorization data of the ticket; 1 is AD-IF-RELEVANT (RFC 4120, 5.2.6.1).
// MIT and Heimdal.
func ExampleContext_AuthorizationData() {
	_, server := established(nil)
	data, err := server.AuthorizationData(1)
	fmt.Println(len(data) > 0, err)
	// Output: true <nil>
}

// overTLS is both ends of a TLS connection.
func overTLS() (client, server *tls.Conn) {
	s := httptest.NewTLSServer(nil) // for its certificate
	defer s.Close()
	theirs := s.TLS.Clone()
	theirs.SessionTicketsDisabled = true // nobody reads them here
	ours := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	ours.ServerName = "example.com"
	x, y := net.Pipe()
	client, server = tls.Client(x, ours), tls.Server(y, theirs)
	done := make(chan error)
	go func() { done <- server.Handshake() }()
	check(client.Handshake())
	check(<-done)
	return client, server
}

// Both ends bind the context to the TLS connection that they see: an initiator at
// the end of another one is refused. MIT and Heimdal.
func ExampleTLSExporter() {
	target, err := gssapi.HostService("host", "server.test")
	check(err)
	login := func(client, server *tls.Conn) error {
		state := client.ConnectionState()
		ours, err := gssapi.TLSExporter(&state)
		check(err)
		state = server.ConnectionState()
		theirs, err := gssapi.TLSExporter(&state)
		check(err)
		return handshake(
			gssapi.NewInitiator(target, &gssapi.InitiatorOptions{Bindings: ours}),
			// RequireBindings would refuse who sends none. Heimdal 7.8 does not tell.
			gssapi.NewAcceptor(&gssapi.AcceptorOptions{Bindings: theirs}),
		)
	}
	client, server := overTLS()
	fmt.Println(login(client, server))
	_, elsewhere := overTLS()
	fmt.Println(errors.Is(login(client, elsewhere), gssapi.ErrBadBindings))
	// Output:
	// <nil>
	// true
}

// Behind a proxy that ends TLS, with the server's certificate, both ends know that.
// Every library.
func ExampleTLSServerEndPoint() {
	client, _ := overTLS()
	cert := client.ConnectionState().PeerCertificates[0] // on the server: the leaf that it sends
	bindings, err := gssapi.TLSServerEndPoint(cert)
	check(err)
	_ = gssapi.InitiatorOptions{Bindings: bindings}
	_ = gssapi.AcceptorOptions{Bindings: bindings, RequireBindings: true} // MIT
	fmt.Printf("%.21s\n", bindings.ApplicationData)
	// Output: tls-server-end-point:
}
