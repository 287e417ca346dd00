package ldapauth

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/seed2651813c/gss/gssapi/sasl"
)

// conn is a connection that becomes another one at the end of a bind. The last
// request of the bind, and its response, go in the clear; everything after them in
// the security layer. RFC 4511, 4.2.2; RFC 4513, 5.2.1.
type conn struct {
	net.Conn

	mu       sync.Mutex
	state    state
	client   *sasl.Client
	response []byte   // SASL's: the request that has it is the last one of the bind
	above    net.Conn // with the layer; set in state after
	err      error    // of state dead

	reading sync.Mutex
	got     []byte // read and not yet given out
}

type state int

const (
	before  state = iota // the bind is not done: in the clear
	plain                // it is done, and there is to be no layer
	armed                // the last request comes next
	waiting              // it was sent: its response comes next
	after                // the bind is done
	dead                 // it failed
)

func newConn(raw net.Conn) *conn { return &conn{Conn: raw} }

// arm tells what is in the last request of the bind.
func (c *conn) arm(client *sasl.Client, response []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != before {
		return errors.New("a connection of Client.Conn is for one bind: dial anew")
	}
	if client.Layer() == sasl.LayerNone {
		c.state = plain
		return nil
	}
	c.state, c.client, c.response = armed, client, bytes.Clone(response)
	return nil
}

// finish ends the bind: without what it should have ended with, the connection is
// dead. It reports whether the connection needs the client's context.
func (c *conn) finish() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case before, armed, waiting:
		// go-ldap takes a success without an offer of layers for one too.
		c.kill(errors.New("ldapauth: the bind ended without a security layer: dial anew"))
	}
	return c.state == after
}

// kill makes err that of everything that follows. The caller holds c.mu.
func (c *conn) kill(err error) error {
	c.state, c.err = dead, err
	if c.client != nil {
		c.client.Close()
	}
	c.Conn.Close()
	return err
}

// Write sends a request.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	switch c.state {
	case armed:
		// go-ldap writes a request in one piece.
		if !bytes.Contains(p, c.response) {
			defer c.mu.Unlock()
			return 0, c.kill(errors.New("ldapauth: something else than the bind is sent, while that is under way: another request, or TLS over this connection, which needs no layer"))
		}
		c.state = waiting // before the response can come
		c.mu.Unlock()
		return c.Conn.Write(p)
	case waiting:
		defer c.mu.Unlock()
		return 0, c.kill(errors.New("ldapauth: a request is sent while a bind is under way"))
	case dead:
		defer c.mu.Unlock()
		return 0, c.err
	}
	x := c.Conn
	if c.state == after {
		x = c.above
	}
	c.mu.Unlock()
	return x.Write(p)
}

// Read reads responses.
func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		c.mu.Lock()
		state, above, err := c.state, c.above, c.err
		c.mu.Unlock()
		switch {
		case len(c.got) > 0 && state != waiting:
			n := copy(p, c.got)
			c.got = c.got[n:]
			return n, nil
		case state == dead:
			return 0, err
		case state == after:
			return above.Read(p)
		}
		// What comes is of the state at its arrival, and not of the one now.
		buf := make([]byte, max(len(p), 512))
		n, err := c.Conn.Read(buf)
		c.got = append(c.got, buf[:n]...)
		if n > 0 {
			c.mu.Lock()
			if c.state == waiting {
				c.bound()
			}
			c.mu.Unlock()
			continue
		}
		if err != nil {
			return 0, err
		}
	}
}

// bound looks whether the response to the bind is there, and switches to the layer
// then. The caller holds c.mu and c.reading.
func (c *conn) bound() {
	n, ok, err := bindResponse(c.got)
	if err != nil {
		c.got = nil
		c.kill(fmt.Errorf("ldapauth: %w", err))
		return
	}
	if n == 0 {
		return // there is more to come
	}
	rest := bytes.Clone(c.got[n:])
	c.got = c.got[:n]
	if !ok {
		// go-ldap tells its caller why. Nothing may be sent in the clear after that.
		c.kill(errors.New("ldapauth: the bind failed: dial anew"))
		return
	}
	if c.above, err = c.client.Conn(&unread{c.Conn, rest}); err != nil {
		c.kill(fmt.Errorf("ldapauth: %w", err))
		return
	}
	c.state = after
}

// unread is a connection of which something was read already.
type unread struct {
	net.Conn
	rest []byte
}

func (u *unread) Read(p []byte) (int, error) {
	if len(u.rest) > 0 {
		n := copy(p, u.rest)
		u.rest = u.rest[n:]
		return n, nil
	}
	return u.Conn.Read(p)
}

// Close ends the layer, if there is one, and the connection.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == after {
		return c.above.Close()
	}
	return c.Conn.Close()
}

// maxBindResponse is the longest response to a bind that is waited for.
const maxBindResponse = 64 << 10

// bindResponse looks for the response to a bind at the beginning of b: n is its
// length, 0 if it is not all there; ok is whether it tells success. RFC 4511, 4.1.1
// and 4.2.2.
func bindResponse(b []byte) (n int, ok bool, err error) {
	bad := errors.New("what comes is no response to a bind")
	body, n, err := element(b, 0x30)
	if n == 0 || err != nil {
		return 0, false, err
	}
	_, k, err := element(body, 0x02) // messageID
	if k == 0 || err != nil {
		return 0, false, bad
	}
	op, m, err := element(body[k:], 0x61)
	if m == 0 || err != nil {
		return 0, false, bad
	}
	code, m, err := element(op, 0x0a)
	if m == 0 || err != nil || len(code) != 1 {
		return 0, false, bad
	}
	return n, code[0] == 0, nil
}

// element takes the first element off b, which must have that tag: its contents, and
// its length with its head; 0 if it is not all there. X.690, 8.1.
func element(b []byte, tag byte) (contents []byte, n int, err error) {
	if len(b) == 0 {
		return nil, 0, nil
	}
	if b[0] != tag {
		return nil, 0, fmt.Errorf("what comes is no response to a bind: it begins with %#x, and should with %#x", b[0], tag)
	}
	if len(b) < 2 {
		return nil, 0, nil
	}
	size, head := int(b[1]), 2
	if size >= 0x80 {
		more := size & 0x7f
		if more == 0 || more > 4 {
			return nil, 0, errors.New("what comes is no response to a bind: its length has no right form")
		}
		if len(b) < 2+more {
			return nil, 0, nil
		}
		size, head = 0, 2+more
		for _, x := range b[2:head] {
			size = size<<8 | int(x)
		}
	}
	if size < 0 || size > maxBindResponse {
		return nil, 0, fmt.Errorf("the response to a bind has %d bytes: more than %d are not taken", size, maxBindResponse)
	}
	if len(b) < head+size {
		return nil, 0, nil
	}
	return b[head : head+size], head + size, nil
}
