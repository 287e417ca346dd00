// Server takes an encrypted message from everyone who proves who he is, and
// answers with his name. Its keys are in the default keytab (KRB5_KTNAME).
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/seed2651813c/gss/examples/frame"
	"github.com/seed2651813c/gss/gssapi"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:4444", "`host:port` to listen on; port 0 is a free one")
	flag.Parse()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %v", l.Addr())
	slots := make(chan struct{}, 100) // so many clients at once; others wait
	for {
		slots <- struct{}{}
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer func() { <-slots }()
			if err := serve(conn); err != nil {
				log.Printf("%v: %v", conn.RemoteAddr(), err)
			}
		}()
	}
}

func serve(conn net.Conn) error {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	c := gssapi.NewAcceptor(&gssapi.AcceptorOptions{Require: gssapi.FlagConf})
	if err := frame.Establish(context.Background(), conn, c, false); err != nil {
		return err
	}
	info, err := c.Info()
	if err != nil {
		return err
	}
	sealed, err := frame.Read(conn)
	if err != nil {
		return err
	}
	message, err := c.Unwrap(sealed)
	if err != nil {
		return err
	}
	log.Printf("%v says %q", info.Peer(), message)
	answer, err := c.Wrap(fmt.Appendf(nil, "hello, %v", info.Peer()))
	if err != nil {
		return err
	}
	return frame.Write(conn, answer)
}
