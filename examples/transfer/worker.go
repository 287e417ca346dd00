//go:build unix

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/seed2651813c/gss/examples/frame"
	"github.com/seed2651813c/gss/gssapi"
)

// worker takes contexts over and talks with their clients until they leave. It
// has neither a keytab nor tickets: what it needs is in the contexts.
func worker(p *process) error {
	u, err := socket(3)
	if err != nil {
		return err
	}
	u.SetDeadline(p.end)
	p.tell(ready, "waits for contexts; it has no keytab")

	// The C libraries import a token as often as it comes, and each time make a
	// live context with the same keys and numbers: that a token is used once is for
	// the program to see to. Here one process records what it was given, which is
	// enough as long as the acceptor gives each token to one worker.
	seen := map[[sha256.Size]byte]string{} // whose they were

	talks := make(chan error)
	running := 0
	for {
		h, err := take(u)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if p.fault == breakHang {
			io.Copy(io.Discard, u) // until the deadline
			return errors.New("did nothing, as it was told")
		}
		hash := sha256.Sum256(h.token)
		if peer, ok := seen[hash]; ok && p.fault != breakReimport {
			h.wipe()
			h.conn.Close()
			p.tell(secondTime, "%s: was given the same token again: refused, the C library does not see it", peer)
			if err := frame.Write(u, []byte("it was imported already")); err != nil {
				return err
			}
			continue
		}
		l, peer, err := p.takeOver(h)
		seen[hash] = peer
		answer := ""
		if err != nil {
			answer = err.Error()
		}
		if err := errors.Join(err, frame.Write(u, []byte(answer))); err != nil {
			return err
		}
		running++
		go func() {
			err := p.serve(l, peer)
			if err != nil {
				p.tell(failed, "%v", err) // now: the acceptor may have more to come
			}
			l.sec.Close()
			l.conn.Close()
			talks <- err
		}()
	}
	var errs []error
	for range running {
		errs = append(errs, <-talks)
	}
	return errors.Join(errs...)
}

// takeOver imports a context. What is imported must be what the acceptor said.
func (p *process) takeOver(h *handedOver) (l *link, peer string, err error) {
	defer h.wipe()
	defer func() {
		if err != nil {
			h.conn.Close()
		}
	}()
	name, err := gssapi.ImportName(string(h.name), gssapi.NTExportName)
	if err != nil {
		return nil, "", err
	}
	sec, err := gssapi.Import(h.token, &gssapi.ImportOptions{Require: gssapi.DefaultFlags, Mech: gssapi.MechKrb5, Peer: name})
	if err != nil {
		return nil, "", err
	}
	info, err := sec.Info()
	if err != nil {
		return nil, "", err
	}
	h.conn.SetDeadline(p.end)
	p.tell(imported, "%v: imported the context; this is who it talks to", info.Peer())
	return &link{h.conn, sec}, info.Peer().String(), nil
}

// refused begins the answer to a message that was not accepted.
const refused = "refused: "

// serve answers messages until the client leaves.
func (p *process) serve(l *link, peer string) error {
	for {
		text, token, err := l.receive()
		switch {
		case err == io.EOF:
			p.tell(left, "%s: the client has left", peer)
			return nil
		case errors.Is(err, gssapi.ErrDuplicateToken):
			answer, _, sealErr := l.seal(refused + err.Error())
			if sealErr != nil {
				return sealErr
			}
			p.tell(replay, "%s: number %d again: refused, %v", peer, number(token), err)
			if err := frame.Write(l.conn, answer); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", peer, err)
		}
		answer, n, err := l.seal(p.name + " to " + peer + ": " + text)
		if err != nil {
			return err
		}
		p.tell(exchanged, "%s: got %q, number %d; answers, number %d", peer, text, number(token), n)
		if err := frame.Write(l.conn, answer); err != nil {
			return err
		}
	}
}
