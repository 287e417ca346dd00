//go:build unix

package gssapi

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/seed2651813c/gss/internal/fakegss"
)

// What is closed while a call is in C, where it stays until the gate opens.

// releases is how many handles the library was given back.
func releases(t *testing.T) (n int) {
	t.Helper()
	for _, f := range []string{"gss_delete_sec_context", "gss_release_cred", "gss_release_name"} {
		n += len(called(t, f))
	}
	return n
}

// nothingLeft fails the test unless the library got back all that it gave.
// (It aborts on a handle that comes back twice, or is used afterwards.)
func nothingLeft(t *testing.T) {
	t.Helper()
	if n := settle(0); n != 0 {
		t.Errorf("%d handles and buffers are left", n)
	}
	// A call is in the log when it begins; what it gave back is when it ends.
	await(t, "the release of all that the library gave", func() bool {
		live, err := fakegss.Live(os.Getenv("FAKEGSS_LOG"))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range live {
			if n != 0 {
				return false
			}
		}
		return true
	})
}

type closer interface{ Close() error }

// Close returns while a call that uses the object is in C, and gives nothing
// back that the call uses; that is done when the call is.
func TestFakeCloseWhileBlocked(t *testing.T) {
	if !onFake(t) {
		return
	}
	bg := context.Background()
	name := func(t *testing.T) *Name { return importName(t, "host/server.test", NTKrb5PrincipalName) }
	cred := func(t *testing.T, u Usage) *Credential {
		return acquire(t, &CredentialOptions{Usage: u, Mechs: []OID{MechKrb5}})
	}
	// established returns a context, what it uses, and its peer.
	established := func(t *testing.T) (c, peer *Context, uses []closer) {
		n, from, to := name(t), cred(t, Initiate), cred(t, Accept)
		i, a := NewInitiator(n, &InitiatorOptions{Credential: from}), NewAcceptor(&AcceptorOptions{Credential: to})
		if err := handshake(i, a, nil); err != nil {
			t.Fatal(err)
		}
		to.Close()
		a.source.Close()
		return i, a, []closer{i, from, n}
	}
	// onContext is a call on an established context. Nobody else comes in after it.
	onContext := func(call func(c, peer *Context) error) func(t *testing.T) (func() error, []closer, int) {
		return func(t *testing.T) (func() error, []closer, int) {
			c, peer, uses := established(t)
			return func() error {
				defer peer.Close()
				return call(c, peer)
			}, uses, 2 // the name and the credential, which it does not use any more
		}
	}
	for _, tt := range []struct {
		name  string
		block string
		// begin returns the call, what is closed during it, and how many handles go
		// back at once.
		begin func(t *testing.T) (call func() error, uses []closer, released int)
		want  error
	}{
		{"Step of an initiator", "gss_init_sec_context", func(t *testing.T) (func() error, []closer, int) {
			n, from := name(t), cred(t, Initiate)
			i := NewInitiator(n, &InitiatorOptions{Credential: from})
			return func() error { return second(i.Step(bg, nil)) }, []closer{i, from, n}, 0
		}, ErrNoContext},
		{"Step of an acceptor", "gss_accept_sec_context", func(t *testing.T) (func() error, []closer, int) {
			n, to := name(t), cred(t, Accept)
			i := NewInitiator(n, &InitiatorOptions{Flags: FlagDeleg})
			defer i.Close()
			defer n.Close()
			token := step(t, i, nil)
			a := NewAcceptor(&AcceptorOptions{Credential: to})
			return func() error {
				err := second(a.Step(bg, token))
				if a.Delegated() != nil {
					t.Error("a context that was closed in the midst has a delegated credential")
				}
				return err
			}, []closer{a, to}, 0
		}, ErrNoContext},
		// The first Step asks what the credential has.
		{"first question of a Step", "gss_inquire_cred", func(t *testing.T) (func() error, []closer, int) {
			n, from := name(t), cred(t, Initiate)
			i := NewInitiator(n, &InitiatorOptions{Credential: from})
			return func() error { return second(i.Step(bg, nil)) }, []closer{i, from, n}, 0
		}, ErrNoContext},
		{"Wrap", "gss_wrap", onContext(func(c, peer *Context) error {
			token, err := c.Wrap([]byte("hello"))
			if err != nil {
				return err
			}
			return second(peer.Unwrap(token))
		}), nil},
		{"Unwrap", "gss_unwrap", onContext(func(c, peer *Context) error {
			token, err := peer.Wrap([]byte("hello"))
			if err != nil {
				return err
			}
			return second(c.Unwrap(token))
		}), nil},
		{"AppendMIC", "gss_get_mic", onContext(func(c, peer *Context) error {
			mic, err := c.AppendMIC(nil, []byte(text))
			if err != nil {
				return err
			}
			return peer.VerifyMIC([]byte(text), mic)
		}), nil},
		{"VerifyMIC", "gss_verify_mic", onContext(func(c, peer *Context) error {
			mic, err := peer.AppendMIC(nil, []byte(text))
			if err != nil {
				return err
			}
			return c.VerifyMIC([]byte(text), mic)
		}), nil},
		{"Info", "gss_inquire_context", onContext(func(c, _ *Context) error {
			info, err := c.Info()
			if err != nil {
				return err
			}
			info.Initiator.Close()
			return info.Acceptor.Close()
		}), nil},
		{"MaxMessage", "gss_wrap_size_limit", onContext(func(c, _ *Context) error { return second(c.MaxMessage(1000, Private)) }), nil},
		// It has the context by then: the token is good, and there is no handle to
		// delete.
		{"Export", "gss_export_sec_context", onContext(func(c, peer *Context) error {
			token, err := c.Export()
			if err != nil {
				return err
			}
			next, err := Import(token, nil)
			if err != nil {
				return err
			}
			defer next.Close()
			if token, err = next.Wrap([]byte("hello")); err != nil {
				return err
			}
			return second(peer.Unwrap(token))
		}), nil},
		{"Acquire", "gss_acquire_cred", func(t *testing.T) (func() error, []closer, int) {
			n := name(t)
			return func() error {
				c, err := Acquire(bg, &CredentialOptions{Name: n})
				if err != nil {
					return err
				}
				return c.Close()
			}, []closer{n}, 0
		}, nil},
		{"Credential.Info", "gss_inquire_cred", func(t *testing.T) (func() error, []closer, int) {
			c := cred(t, Initiate)
			return func() error {
				info, err := c.Info(bg)
				if err != nil {
					return err
				}
				return info.Name.Close()
			}, []closer{c}, 0
		}, nil},
		{"MechInfo", "gss_inquire_cred_by_mech", func(t *testing.T) (func() error, []closer, int) {
			c := cred(t, Initiate)
			return func() error {
				info, err := c.MechInfo(bg, MechKrb5)
				if err != nil {
					return err
				}
				return info.Name.Close()
			}, []closer{c}, 0
		}, nil},
		{"Add", "gss_add_cred", func(t *testing.T) (func() error, []closer, int) {
			c, n := cred(t, Initiate), name(t)
			return func() error {
				more, err := c.Add(bg, &CredentialOptions{Name: n, Mechs: []OID{MechSPNEGO}})
				if err != nil {
					return err
				}
				return more.Close()
			}, []closer{c, n}, 0
		}, nil},
		{"Canonicalize", "gss_canonicalize_name", func(t *testing.T) (func() error, []closer, int) {
			n := name(t)
			return func() error {
				c, err := n.Canonicalize(bg, MechKrb5)
				if err != nil {
					return err
				}
				return c.Close()
			}, []closer{n}, 0
		}, nil},
		{"String", "gss_display_name", func(t *testing.T) (func() error, []closer, int) {
			n := name(t)
			return func() error {
				if s := n.String(); s != "host/server.test" {
					return errors.New(s)
				}
				return nil
			}, []closer{n}, 0
		}, nil},
		{"Equal", "gss_compare_name", func(t *testing.T) (func() error, []closer, int) {
			n, other := name(t), name(t)
			return func() error {
				if !n.Equal(other) {
					return errors.New("they are unequal")
				}
				return nil
			}, []closer{n, other}, 0
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faults(t, "")
			call, uses, released := tt.begin(t)
			before, blocked := releases(t), len(called(t, "blocked"))
			faults(t, "block="+tt.block)
			done := make(chan error, 1)
			go func() { done <- call() }()
			awaitCall(t, "blocked", blocked+1)
			faults(t, "")
			for range 2 {
				for _, u := range uses {
					u.Close()
				}
			}
			if n := releases(t) - before; n != released {
				t.Errorf("%d handles were released during the call, want %d", n, released)
			}
			if c, ok := uses[0].(*Context); ok {
				// They do not wait for the call.
				wantErr(t, "Wrap", second(c.Wrap(nil)), ErrNoContext)
				wantErr(t, "Export", second(c.Export()), ErrNoContext)
			}
			openGate(t)
			if err := <-done; !errors.Is(err, tt.want) {
				t.Errorf("the call: %v, want %v", err, tt.want)
			}
			nothingLeft(t)
		})
	}
}

// A call that waits for its turn on a context gets none once that is closed, and
// does not reach C.
func TestFakeCloseWhileWaiting(t *testing.T) {
	if !onFake(t) {
		return
	}
	i, a := fakePair(t)
	i.target.Close()
	a.source.Close()
	faults(t, "block=gss_wrap")
	first, others := make(chan error, 1), make(chan error, 8)
	go func() { first <- second(i.Wrap([]byte("first"))) }()
	awaitCall(t, "blocked", 1)
	for range cap(others) / 2 {
		go func() { others <- second(i.Wrap([]byte("other"))) }()
		go func() { others <- second(i.Export()) }()
	}
	i.Close()
	openGate(t)
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
	for range cap(others) {
		wantErr(t, "another", <-others, ErrNoContext)
	}
	if n := len(called(t, "gss_wrap")) + len(called(t, "gss_export_sec_context")); n != 1 {
		t.Errorf("%d calls reached the library", n)
	}
	a.Close()
	nothingLeft(t)
}

// Calls of GNU gss come one after the other. Close does not wait for its turn,
// nor does it take it out of turn. A context gives its credential back after
// itself.
func TestFakeGNUCloseWhileBlocked(t *testing.T) {
	if !onFakeGNU(t) {
		return
	}
	faults(t, "")
	host := importName(t, "host@server.test", NTHostBasedService)
	to := acquire(t, &CredentialOptions{Name: host, Usage: Accept})
	options := &InitiatorOptions{Without: FlagConf}
	var ends []*Context
	for range 3 {
		i, a := NewInitiator(host, options), NewAcceptor(&AcceptorOptions{Credential: to})
		if err := handshake(i, a, nil); err != nil {
			t.Fatal(err)
		}
		a.source.Close()
		ends = append(ends, a, i)
	}
	blocked := NewInitiator(host, options)
	done := make(chan error, 1)

	to.Close()
	ends[0].Close()
	ends[1].Close()
	if d, r := len(called(t, "gss_delete_sec_context")), len(called(t, "gss_release_cred")); d != 2 || r != 0 {
		t.Fatalf("%d contexts were deleted, and the credential that others use released %d times", d, r)
	}
	faults(t, "block=gss_init_sec_context")
	go func() { done <- second(blocked.Step(context.Background(), nil)) }()
	awaitCall(t, "blocked", 1)
	for _, c := range ends {
		c.Close()
		wantErr(t, "Info", second(c.Info()), ErrNoContext)
	}
	blocked.Close()
	host.Close()
	if d, r := len(called(t, "gss_delete_sec_context")), len(called(t, "gss_release_cred")); d != 2 || r != 0 {
		t.Errorf("during another call %d contexts were deleted, and the credential released %d times", d-2, r)
	}
	openGate(t)
	wantErr(t, "Step", <-done, ErrNoContext)
	awaitCall(t, "gss_delete_sec_context", 7)
	awaitCall(t, "gss_release_cred", 1)
	nothingLeft(t)

	// The acceptors' are deleted first.
	calls, err := fakegss.ReadLog(os.Getenv("FAKEGSS_LOG"))
	if err != nil {
		t.Fatal(err)
	}
	deleted := 0
	for _, c := range calls {
		switch c.Function {
		case "gss_delete_sec_context":
			if c.Args["side"] == "acceptor" {
				deleted++
			}
		case "gss_release_cred":
			if deleted != 3 {
				t.Errorf("the credential is released after %d of the 3 contexts that use it", deleted)
			}
		}
	}
}
