// Client proves to a server who its user is, sends it what it is given, or its
// standard input, over an encrypted connection, and prints the answer.
package main

import (
	"flag"
	"io"
	"log"
	"net"
	"os"
	"strings"

	"github.com/seed2651813c/gss/gssapi"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:4444", "`host:port` of the server")
	service := flag.String("service", "host@server.test", "`service@host` that the server must prove to be")
	flag.Parse()
	in := io.Reader(os.Stdin)
	if flag.NArg() > 0 {
		in = strings.NewReader(strings.Join(flag.Args(), " ") + "\n")
	}

	target, err := gssapi.ImportName(*service, gssapi.NTHostBasedService)
	check(err)
	tcp, err := net.Dial("tcp", *addr)
	check(err)
	conn := gssapi.Client(tcp, target, nil) // mutual authentication, encryption
	check(conn.Handshake())
	go func() {
		_, err := io.Copy(conn, in)
		check(err)
		check(conn.CloseWrite()) // the server sees that this is all
	}()
	_, err = io.Copy(os.Stdout, conn) // an error if the answer was cut
	check(err)
	check(conn.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
