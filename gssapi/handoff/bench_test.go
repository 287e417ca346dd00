package handoff

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
)

// One connection goes to and fro between two receivers: the offer, the export, the
// seal, the descriptor, the import and the acknowledgement.
func BenchmarkTransfer(b *testing.B) {
	if e := canExport(); e != "" {
		b.Skip(e)
	}
	to, at := session(b, nil)
	back, home := session(b, nil)
	_, h := established(b, nil, nil)
	pass := func(s *Sender, r *Receiver) {
		sent := make(chan error, 1)
		go func() { sent <- s.Send(context.Background(), h) }()
		got, err := r.Receive(context.Background())
		check(b, err)
		check(b, <-sent)
		h = &Handoff{Conn: got.NetConn(), Context: got.Context}
	}
	pass(to, at)
	pass(back, home)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%2 == 1 {
			pass(to, at)
		} else {
			pass(back, home)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "transfers/s")
}

// What a client sees of a login and one answer: from the process that accepts him,
// and from a worker that he was handed to.
func BenchmarkLogin(b *testing.B) {
	if e := canExport(); e != "" {
		b.Skip(e)
	}
	target, err := gssapi.HostService("host", "server.test")
	check(b, err)
	login := func(b *testing.B, addr net.Addr) {
		for b.Loop() {
			conn, err := net.Dial("tcp", addr.String())
			check(b, err)
			c := gssapi.Client(conn, target, nil)
			_, err = fmt.Fprintln(c, "hello")
			check(b, err)
			_, err = bufio.NewReader(c).ReadString('\n')
			check(b, err)
			c.Close()
		}
	}
	listen := func(b *testing.B) net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(b, err)
		return l
	}
	b.Run("direct", func(b *testing.B) {
		l := listen(b)
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					c := gssapi.Server(conn, nil)
					defer c.Close()
					line, err := bufio.NewReader(c).ReadString('\n')
					if err == nil {
						fmt.Fprintf(c, "%v: %s", c.ConnectionState().Peer(), line)
					}
				}()
			}
		}()
		login(b, l.Addr())
	})
	b.Run("handoff", func(b *testing.B) {
		s := &Server{Command: command("echo"), Workers: 2}
		l := listen(b)
		go s.Serve(l)
		login(b, l.Addr())
		check(b, s.Shutdown(context.Background()))
	})
}
