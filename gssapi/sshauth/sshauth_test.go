package sshauth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

const target = "host@server.test"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	var realm *gsstest.Realm
	if err == nil {
		realm, err = gsstest.Start(&gsstest.Options{Principals: []string{"alice", "host/server.test"}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer realm.Close()
	ccache, err := realm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	keytab, e := realm.Keytab("host/server.test")
	if err = errors.Join(err, e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, kv := range append(realm.EnvFor(ccache, keytab), "KRB5RCACHENAME=none:", "HOME="+realm.Dir()) {
		k, v, _ := strings.Cut(kv, "=")
		os.Setenv(k, v)
	}
	return m.Run()
}

// needsLibrary skips what GNU gss cannot do.
func needsLibrary(t *testing.T) {
	t.Helper()
	if l, err := gss.Library(); err != nil || l.Kind == gss.KindGNU {
		t.Skip("GNU gss does not read the realm's files, and accepts for tests only")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// login exchanges the tokens as package ssh does.
func login(t *testing.T, c *Client, s *Server) (name string) {
	t.Helper()
	var in []byte
	for more := true; more; {
		out, again, err := c.InitSecContext(target, in, false)
		check(t, err)
		if more = again; len(out) == 0 {
			break
		}
		var goesOn bool
		in, name, goesOn, err = s.AcceptSecContext(out)
		check(t, err)
		if !goesOn && len(in) == 0 {
			break
		}
	}
	return name
}

func TestLogin(t *testing.T) {
	needsLibrary(t)
	for _, delegate := range []bool{false, true} {
		c, s := NewClient(&ClientOptions{Delegate: delegate}), NewServer(nil)
		for range 2 { // both serve one login after the other
			if name := login(t, c, s); name != "alice@TEST.GSS" {
				t.Errorf("the name is %q", name)
			}
			if d := s.Context().Delegated() != nil; d != delegate {
				t.Errorf("a credential was delegated: %t", d)
			}
			field := []byte("session, user, service, method")
			mic, err := c.GetMIC(field)
			check(t, err)
			check(t, s.VerifyMIC(field, mic))
			// Heimdal 7.8 says first that it comes twice.
			if err := s.VerifyMIC(append(field, 'x'), mic); !errors.Is(err, gssapi.ErrBadMIC) && !errors.Is(err, gssapi.ErrDuplicateToken) {
				t.Errorf("another field: %v", err)
			}
			check(t, c.DeleteSecContext())
			check(t, s.DeleteSecContext())
			for _, err := range []error{s.VerifyMIC(field, mic), func() error { _, err := c.GetMIC(field); return err }()} {
				if !errors.Is(err, gssapi.ErrNoContext) {
					t.Errorf("after the end: %v", err)
				}
			}
			if s.Context() != nil || s.Take() != nil {
				t.Error("a context after the end")
			}
		}
	}
}

// Package ssh calls again with the token before, or with none, after a message
// that is none of the exchange.
func TestAgain(t *testing.T) {
	needsLibrary(t)
	c, s := NewClient(nil), NewServer(nil)
	defer c.DeleteSecContext()
	defer s.Close()
	first, more, err := c.InitSecContext(target, nil, false)
	if err != nil || !more || len(first) == 0 {
		t.Fatalf("%v, %t, %d bytes", err, more, len(first))
	}
	if out, more, err := c.InitSecContext(target, nil, false); err != nil || !more || len(out) != 0 {
		t.Errorf("again without a token: %v, %t, %d bytes", err, more, len(out))
	}
	answer, name, more, err := s.AcceptSecContext(first)
	if err != nil || more || name != "alice@TEST.GSS" {
		t.Fatalf("%v, %t, %q", err, more, name)
	}
	if _, more, err := c.InitSecContext(target, answer, false); err != nil || more {
		t.Fatalf("%v, %t", err, more)
	}
	// A token after the last one ends the login.
	if _, name, more, err := s.AcceptSecContext(first); !errors.Is(err, gssapi.ErrDefectiveToken) || more || name != "" {
		t.Errorf("one more token: %v, %t, %q", err, more, name)
	}
	if s.Context() != nil {
		t.Error("the login goes on")
	}
}

func TestBad(t *testing.T) {
	needsLibrary(t)
	s := NewServer(nil)
	for _, token := range [][]byte{nil, {}, []byte("junk"), make([]byte, 100_000)} {
		if _, name, more, err := s.AcceptSecContext(token); err == nil || more || name != "" {
			t.Errorf("%d bytes of junk: %v, %t, %q", len(token), err, more, name)
		}
	}
	// After a failed attempt the next one is another.
	c := NewClient(nil)
	if name := login(t, c, s); name != "alice@TEST.GSS" {
		t.Errorf("after junk: %q", name)
	}
	c.DeleteSecContext()
	if _, _, err := c.InitSecContext("host@nobody.test", nil, false); err == nil || !strings.Contains(err.Error(), "nobody.test") {
		t.Errorf("to a service that is not: %v", err)
	}
	if _, _, err := c.InitSecContext("", nil, false); !errors.Is(err, gssapi.ErrBadName) {
		t.Errorf("to nobody: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := NewClient(&ClientOptions{Context: ctx}).InitSecContext(target, nil, false); !errors.Is(err, context.Canceled) {
		t.Errorf("a ctx that has ended: %v", err)
	}
	if _, _, _, err := NewServer(&ServerOptions{Context: ctx}).AcceptSecContext([]byte("x")); err == nil {
		t.Error("a ctx that has ended")
	}
	check(t, NewServer(nil).Close())
	check(t, NewClient(nil).DeleteSecContext())
}

// The context outlives the login if it is taken.
func TestTake(t *testing.T) {
	needsLibrary(t)
	c, s := NewClient(nil), NewServer(nil)
	login(t, c, s)
	taken := s.Take()
	check(t, s.DeleteSecContext())
	if !taken.Established() {
		t.Fatal("it has ended with the login")
	}
	defer taken.Close()
	mic, err := c.GetMIC([]byte("x"))
	check(t, err)
	check(t, taken.VerifyMIC([]byte("x"), mic))
	check(t, c.DeleteSecContext())
}

// The library decides who may log in.
func TestMayLogIn(t *testing.T) {
	needsLibrary(t)
	c, s := NewClient(nil), NewServer(nil)
	defer c.DeleteSecContext()
	defer s.Close()
	if _, err := s.MayLogIn(t.Context(), "root"); !errors.Is(err, gssapi.ErrNoContext) {
		t.Errorf("before the login: %v", err)
	}
	login(t, c, s)
	if may, err := s.MayLogIn(t.Context(), "nobody"); err != nil || may {
		t.Errorf("alice as nobody: %t, %v", may, err)
	}
}

// Each connection has a configuration and a state of its own.
func TestForConn(t *testing.T) {
	type config struct {
		name   string
		server *Server
	}
	base := &config{name: "base"}
	set := func(c *config, s *Server) { c.server = s }
	a, x := ForConn(base, nil, set)
	b, y := ForConn(base, nil, set)
	if base.server != nil || a.server != x || b.server != y || x == y || a.name != "base" {
		t.Errorf("%+v, %+v, %+v", base, a, b)
	}
}
