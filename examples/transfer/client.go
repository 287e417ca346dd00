//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/seed2651813c/gss/examples/frame"
	"github.com/seed2651813c/gss/gssapi"
)

// service is the acceptor's name, principal the same in Kerberos.
const (
	service   = "host@server.test"
	principal = "host/server.test"
)

// messages is how many a client sends to its worker before it waits for the
// other clients; then one more.
const messages = 3

// client keeps one end of a context, which does not notice that the other end
// moves to another process.
func client(p *process) error {
	target, err := gssapi.ImportName(service, gssapi.NTHostBasedService)
	if err != nil {
		return err
	}
	o := &gssapi.InitiatorOptions{Mech: gssapi.MechKrb5}
	if p.mech == "SPNEGO" {
		o.Mech = gssapi.MechSPNEGO // and Kerberos within
	}
	conn, err := net.DialTimeout("tcp", p.addr, p.limit)
	if err != nil {
		return err
	}
	conn.SetDeadline(p.end)
	l := link{conn, gssapi.NewInitiator(target, o)}
	for token := []byte(nil); !l.sec.Established(); {
		out, err := l.sec.Step(context.Background(), token)
		if len(out) > 0 {
			err = errors.Join(err, frame.Write(conn, out))
		}
		if err != nil {
			return err
		}
		if !l.sec.Established() {
			if token, err = frame.Read(conn); err != nil {
				return err
			}
		}
	}
	info, err := l.sec.Info()
	if err != nil {
		return err
	}
	p.tell(told, "is connected to %v by %s", info.Peer(), p.mech)

	// The first message is the acceptor's.
	first, _, err := l.seal(p.name + " says 1")
	if err != nil {
		return err
	}
	if err := frame.Write(conn, first); err != nil {
		return err
	}
	c := conversation{process: p, link: l}
	if err := c.expect("acceptor", "says 1"); err != nil {
		return err
	}

	// From here on a worker answers. The first message once more: it must not count.
	if err := frame.Write(conn, first); err != nil {
		return err
	}
	answer, err := c.next()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(answer, refused) {
		return fmt.Errorf("a replayed message was answered with %q", answer)
	}
	p.tell(continued, "its first message, sent again, was refused; the answer's number is the next, %d", c.last)

	for i := range messages {
		if err := c.ask(2 + i); err != nil {
			return err
		}
	}
	p.tell(talked, "waits for the others, still connected to %s", c.worker)
	if order := <-p.orders; order != "go on" {
		return fmt.Errorf("no such order: %q", order)
	}
	if err := c.ask(2 + messages); err != nil {
		return err
	}
	l.sec.Close()
	return conn.Close()
}

// conversation is a client's view of who answers.
type conversation struct {
	*process
	link
	worker string // who answers since the transfer
	last   uint64 // number of the last answer; 0 before the first
}

// next receives an answer. Its number must follow on the last one's, whoever
// sends it.
func (c *conversation) next() (string, error) {
	text, token, err := c.receive()
	if err != nil {
		return "", fmt.Errorf("answer: %w", err)
	}
	n := number(token)
	if c.last != 0 && n != c.last+1 {
		return "", fmt.Errorf("an answer has number %d, the one before had %d", n, c.last)
	}
	c.last = n
	return text, nil
}

// expect receives the answer to text from a process whose name begins with who.
func (c *conversation) expect(who, text string) error {
	answer, err := c.next()
	if err != nil {
		return err
	}
	name, rest, _ := strings.Cut(answer, " to ")
	if !strings.HasPrefix(name, who) || !strings.HasSuffix(rest, ": "+c.name+" "+text) {
		return fmt.Errorf("the answer is %q: it should be from %s, to %q", answer, who, text)
	}
	c.worker = name
	return nil
}

// ask sends message i and checks the answer.
func (c *conversation) ask(i int) error {
	text := fmt.Sprintf("says %d", i)
	message, _, err := c.seal(c.name + " " + text)
	if err != nil {
		return err
	}
	if err := frame.Write(c.conn, message); err != nil {
		return err
	}
	who := "worker"
	if i > 2 {
		who = c.worker // the same one as before
	}
	return c.expect(who, text)
}
