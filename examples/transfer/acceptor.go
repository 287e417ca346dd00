//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/seed2651813c/gss/examples/frame"
	"github.com/seed2651813c/gss/gssapi"
)

// acceptor does the handshakes, exchanges a message with each client, and gives
// the contexts away, to one worker after the other. It alone has the keytab. When
// every client has come it ends; the contexts live on.
func acceptor(p *process) error {
	var workers []*net.UnixConn
	for i := range p.count {
		u, err := socket(uintptr(3 + i))
		if err != nil {
			return err
		}
		u.SetDeadline(p.end)
		workers = append(workers, u)
	}
	cred, err := gssapi.Acquire(context.Background(), &gssapi.CredentialOptions{Usage: gssapi.Accept})
	if err != nil {
		return err
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer l.Close()
	l.SetDeadline(p.end)
	p.event(event{Kind: listens, What: fmt.Sprintf("listens on %v", l.Addr()), Addr: l.Addr().String()})
	for i := range len(clients) {
		conn, err := l.AcceptTCP()
		if err != nil {
			return err
		}
		conn.SetDeadline(p.end)
		w := i % len(workers)
		if err := p.accept(conn, cred, workers[w], workerName(w)); err != nil {
			return err
		}
		conn.Close() // this process's hold on it; the worker has its own
	}
	for _, u := range workers {
		u.Close() // tells the worker that there is no more to come
	}
	return nil
}

func (p *process) accept(conn *net.TCPConn, cred *gssapi.Credential, worker *net.UnixConn, workerName string) error {
	// No buffering: what is read here is not there for the worker.
	l := link{conn, gssapi.NewAcceptor(&gssapi.AcceptorOptions{Credential: cred, Require: gssapi.DefaultFlags})}
	defer l.sec.Close()
	for !l.sec.Established() {
		token, err := frame.Read(conn)
		if err != nil {
			return err
		}
		out, err := l.sec.Step(context.Background(), token)
		if len(out) > 0 {
			err = errors.Join(err, frame.Write(conn, out))
		}
		if err != nil {
			return err
		}
	}
	info, err := l.sec.Info()
	if err != nil {
		return err
	}
	peer := info.Peer()
	p.tell(established, "%v: context established, %v", peer, info.Flags)

	text, token, err := l.receive()
	if err != nil {
		return err
	}
	answer, n, err := l.seal(p.name + " to " + peer.String() + ": " + text)
	if err != nil {
		return err
	}
	p.tell(exchanged, "%v: got %q, number %d; answers, number %d", peer, text, number(token), n)
	if err := frame.Write(conn, answer); err != nil {
		return err
	}

	name, err := peer.Export()
	if err != nil {
		return err
	}
	return p.giveAway(l, peer, name, worker, workerName)
}

// giveAway exports the context and passes it on with the connection.
func (p *process) giveAway(l link, peer *gssapi.Name, name []byte, worker *net.UnixConn, workerName string) error {
	context, err := l.sec.Export()
	if err != nil {
		return err
	}
	defer clear(context) // it holds the session's keys
	p.tell(exported, "%v: exported the context, %d bytes", peer, len(context))

	// The handle here is dead, also for those who have kept the *Context.
	_, wrapErr := l.sec.Wrap([]byte("still there?"))
	_, exportErr := l.sec.Export()
	if err := errors.Join(must("Wrap after Export", wrapErr, gssapi.ErrNoContext), must("Export after Export", exportErr, gssapi.ErrNoContext)); err != nil {
		return err
	}
	p.tell(dead, "%v: Wrap and Export here: no context any more", peer)

	if p.fault == breakKeep {
		if err := keep(l.conn, context); err != nil {
			return err
		}
	}
	conn := l.conn.(*net.TCPConn)
	if err := pass(worker, conn, name, context); err != nil {
		return err
	}
	answer, err := frame.Read(worker)
	if err != nil {
		return fmt.Errorf("%s: %w", workerName, err)
	}
	if len(answer) > 0 {
		return fmt.Errorf("%s refused the context of %v: %s", workerName, peer, answer)
	}
	p.tell(told, "%v: %s has taken over the context and the connection", peer, workerName)

	// Once more, as a bug or an attacker would. The C library would take it: two
	// contexts with the same keys and sequence numbers.
	if err := pass(worker, conn, name, context); err != nil {
		return err
	}
	answer, err = frame.Read(worker)
	if err != nil {
		return fmt.Errorf("%s: %w", workerName, err)
	}
	if len(answer) == 0 {
		return fmt.Errorf("%s has taken the same context twice", workerName)
	}
	return nil
}

// keep does, for -break, what the acceptor must not: it goes on with a context
// that it gives away.
func keep(conn net.Conn, token []byte) error {
	sec, err := gssapi.Import(token, nil)
	if err != nil {
		return err
	}
	defer sec.Close()
	message, _, err := (&link{conn, sec}).seal("from the one that kept it")
	if err != nil {
		return err
	}
	return frame.Write(conn, message)
}
