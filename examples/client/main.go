// Client proves to a server who its user is, sends it an encrypted message and
// prints the answer.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"strings"
	"time"

	"github.com/seed2651813c/gss/examples/frame"
	"github.com/seed2651813c/gss/gssapi"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:4444", "`host:port` of the server")
	service := flag.String("service", "host@server.test", "`service@host` that the server must prove to be")
	flag.Parse()

	target, err := gssapi.ImportName(*service, gssapi.NTHostBasedService)
	check(err)
	conn, err := net.Dial("tcp", *addr)
	check(err)
	conn.SetDeadline(time.Now().Add(time.Minute))
	c := gssapi.NewInitiator(target, nil) // mutual authentication, encryption
	check(frame.Establish(context.Background(), conn, c, true))
	sealed, err := c.Wrap([]byte(strings.Join(flag.Args(), " ")))
	check(err)
	check(frame.Write(conn, sealed))
	sealed, err = frame.Read(conn)
	check(err)
	answer, err := c.Unwrap(sealed)
	check(err)
	fmt.Printf("%s\n", answer)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
