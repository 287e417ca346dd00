//go:build unix

// Goserver is the part of a C server that is written in Go: a library for C. What C
// calls is in export.go, which has the only import "C" of it; this is what it does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
)

func main() {} // never called, and not without it

// guarded calls f. A panic ends here: nothing unwinds into C. (One of another
// goroutine ends the process, so what is started with go has a guard of its own.)
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the Go code panics: %v", p)
		}
	}()
	return f()
}

// status is the major status that tells C of an error.
func status(err error) uint32 {
	var e *gssapi.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return uint32(e.Major)
	}
	return uint32(gssapi.ErrFailure)
}

func load(wrap unsafe.Pointer) error { return gss.LoadAt(wrap) }

// live is how many handles there are, when those that nobody has any more are released:
// C may end the process when there are none.
func live() int64 {
	for end := time.Now().Add(10 * time.Second); gss.Live() > 0 && time.Now().Before(end); {
		runtime.GC() // and a goroutine of the runtime releases them
	}
	return gss.Live()
}

// acquire makes what C is to have.
func acquire(service, host string) (name, credential unsafe.Pointer, err error) {
	n, err := gssapi.HostService(service, host)
	if err != nil {
		return nil, nil, err
	}
	defer n.Close() // nothing, once it is detached
	c, err := gssapi.Acquire(context.Background(), &gssapi.CredentialOptions{
		Name: n, Usage: gssapi.Accept, Mechs: []gssapi.OID{gssapi.MechKrb5, gssapi.MechSPNEGO},
	})
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	if credential, err = c.Detach(); err != nil {
		return nil, nil, err
	}
	name, err = n.Detach()
	return name, credential, err
}

// session is what C hands over, and has back in the end.
type session struct {
	context, peer, delegated unsafe.Pointer
	fd                       int
	panics                   bool

	flags gssapi.Flags // what was seen
	name  string
}

// serve takes over what C has, and gives it back, whatever happens between. What is
// refused was C's all the time.
func (s *session) serve() (err error) {
	sec, err := gssapi.Adopt(s.context, &gssapi.ImportOptions{Require: gssapi.DefaultFlags})
	if err != nil {
		return err
	}
	defer giveBack(&s.context, sec.Detach, &err)
	peer, err := gssapi.AdoptName(s.peer)
	if err != nil {
		return err
	}
	defer giveBack(&s.peer, peer.Detach, &err)
	if s.delegated != nil {
		cred, err := gssapi.AdoptCredential(s.delegated)
		if err != nil {
			return err
		}
		defer giveBack(&s.delegated, cred.Detach, &err)
		if err := actFor(peer, cred); err != nil {
			return err
		}
	}
	if s.panics {
		panic("as it was told to")
	}
	info, err := sec.Info()
	if err != nil {
		return err
	}
	s.flags, s.name = info.Flags, info.Peer().String()
	if peer.String() != s.name { // not Equal: see doc.go
		return fmt.Errorf("the context is of %v, and C says that it is of %v", s.name, peer)
	}
	return s.echo(sec)
}

// giveBack makes the handle C's again.
func giveBack(h *unsafe.Pointer, detach func() (unsafe.Pointer, error), err *error) {
	var e error
	*h, e = detach()
	*err = errors.Join(*err, e)
}

// actFor sees that the credential is the client's, and does something with it: the
// first step of logging in to a server in his name.
func actFor(peer *gssapi.Name, cred *gssapi.Credential) error {
	ctx := context.Background()
	info, err := cred.Info(ctx)
	if err != nil {
		return err
	}
	defer info.Name.Close()
	if info.Name.String() != peer.String() {
		return fmt.Errorf("%v delegated a credential of %v", peer, info.Name)
	}
	other, err := gssapi.HostService("host", "server.test")
	if err != nil {
		return err
	}
	defer other.Close()
	sec := gssapi.NewInitiator(other, &gssapi.InitiatorOptions{Credential: cred, Mech: gssapi.MechKrb5})
	defer sec.Close()
	_, err = sec.Step(ctx, nil)
	return err
}

// echo is the service. The client ends his stream, and then waits for C's last words:
// nothing that is C's to read has been read here.
func (s *session) echo(sec *gssapi.Context) error {
	conn, err := connection(s.fd)
	if err != nil {
		return err
	}
	// Go's sockets do not block. That is a property of the connection, not of the
	// descriptor, and C expects its own to be as it was.
	defer syscall.SetNonblock(s.fd, false)
	defer conn.Close() // the descriptor of Go
	conn.SetDeadline(time.Now().Add(time.Minute))
	c := gssapi.NewConn(conn, sec, nil)
	if err := c.Handshake(); err != nil { // does nothing but look at what sec has
		return err
	}
	_, err = io.Copy(c, c)
	return err // c is not closed: the context goes on, and so does the stream
}

// connection is a net.Conn with a descriptor of its own.
func connection(fd int) (net.Conn, error) {
	syscall.ForkLock.RLock()
	own, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(own)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	f := os.NewFile(uintptr(own), "connection")
	defer f.Close()
	return net.FileConn(f)
}
