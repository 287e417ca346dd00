// Server sends back what it gets from everyone who proves who he is. Its keys are
// in the default keytab (KRB5_KTNAME).
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"log/slog"
	"net"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:4444", "`host:port` to listen on; port 0 is a free one")
	flag.Parse()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	slog.Info("listening", "addr", l.Addr())
	slots := make(chan struct{}, 100) // so many clients at once; others wait
	for {
		slots <- struct{}{}
		tcp, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer func() { <-slots }()
			if err := echo(tcp); err != nil {
				slog.Warn("client failed", "addr", tcp.RemoteAddr(), "error", err)
			}
		}()
	}
}

func echo(tcp net.Conn) error {
	conn := gssapi.Server(tcp, nil)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	slog.Info("client", "addr", tcp.RemoteAddr(), "context", conn.ConnectionState())
	conn.SetDeadline(time.Now().Add(10 * time.Minute)) // nobody keeps his place for ever
	if _, err := io.Copy(conn, conn); err != nil {
		tcp.Close() // before the end of stream: the client is to see that this is not all
		return err
	}
	return conn.Close() // sends the end of stream
}
