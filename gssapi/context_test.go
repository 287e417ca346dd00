package gssapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
)

// uses are all calls that need an established context, with their errors.
func uses(c *Context) map[string]error {
	m := map[string]error{}
	_, m["Export"] = c.Export()
	_, m["Detach"] = c.Detach()
	_, m["Info"] = c.Info()
	_, m["Wrap"] = c.Wrap([]byte("msg"))
	_, m["AppendWrap"] = c.AppendWrap(nil, []byte("msg"), Integrity)
	_, m["Unwrap"] = c.Unwrap([]byte("token"))
	_, _, m["AppendUnwrap"] = c.AppendUnwrap(nil, []byte("token"))
	_, m["AppendMIC"] = c.AppendMIC(nil, []byte("msg"))
	m["VerifyMIC"] = c.VerifyMIC([]byte("msg"), []byte("mic"))
	_, m["MaxMessage"] = c.MaxMessage(1000, Private)
	m["ProcessToken"] = c.ProcessToken([]byte("token"))
	maps.Copy(m, inquiries(c))
	return m
}

// ending is a context.Context that ends right after the first look at it: while
// the call that looked is under way, unless that is very quick.
type ending struct {
	context.Context
	looked bool
}

func (e *ending) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (e *ending) Err() error {
	if !e.looked {
		e.looked = true
		return nil
	}
	return context.Canceled
}

// abandon gives up the Step of a context that begin returns, with a token for it.
func abandon(t *testing.T, begin func() (*Context, []byte)) *Context {
	t.Helper()
	for range 1000 { // the library may be the faster one
		c, token := begin()
		out, err := c.Step(&ending{Context: t.Context()}, token)
		if err == nil {
			continue
		}
		wantErr(t, "Step", err, context.Canceled)
		if out != nil {
			t.Error("there is a token")
		}
		if c.is() != abandoned {
			t.Errorf("%v after its ctx ended", c)
		}
		return c
	}
	t.Fatal("no Step was given up")
	return nil
}

func TestStates(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		o := &InitiatorOptions{Mech: mech}
		for _, c := range []struct {
			name string
			make func(t *testing.T) *Context
			step error // what Step returns
		}{
			{"nil", func(t *testing.T) *Context { return nil }, ErrNoContext},
			{"failed", func(t *testing.T) *Context {
				i, _ := contexts(t, o, nil)
				step(t, i, nil)
				if _, err := i.Step(t.Context(), []byte("junk")); err == nil {
					t.Fatal("junk was accepted")
				}
				return i
			}, nil},
			{"failed acceptor", func(t *testing.T) *Context {
				_, a := contexts(t, o, nil)
				if _, err := a.Step(t.Context(), frame(mech, "junk")); err == nil {
					t.Fatal("junk was accepted")
				}
				return a
			}, nil},
			{"closed fresh", func(t *testing.T) *Context {
				i, _ := contexts(t, o, nil)
				i.Close()
				return i
			}, ErrNoContext},
			{"closed partial", func(t *testing.T) *Context {
				i, _ := contexts(t, o, nil)
				step(t, i, nil)
				i.Close()
				return i
			}, ErrNoContext},
			{"closed", func(t *testing.T) *Context {
				i, _ := pair(t, o, nil)
				i.Close()
				return i
			}, ErrNoContext},
			{"exported", func(t *testing.T) *Context {
				i, _ := pair(t, o, nil)
				export(t, i)
				return i
			}, ErrNoContext},
			{"abandoned at the first leg", func(t *testing.T) *Context {
				return abandon(t, func() (*Context, []byte) {
					i, _ := contexts(t, o, nil)
					return i, nil
				})
			}, ErrNoContext},
			{"abandoned at the last leg", func(t *testing.T) *Context {
				return abandon(t, func() (*Context, []byte) {
					i, a := contexts(t, o, nil)
					return a, step(t, i, nil)
				})
			}, ErrNoContext},
		} {
			t.Run(c.name, func(t *testing.T) {
				x := c.make(t)
				wantGone(t, x)
				for range 2 {
					token, err := x.Step(t.Context(), nil)
					if err == nil || token != nil || c.step != nil && !errors.Is(err, c.step) {
						t.Errorf("Step: %q, %v, want %v", token, err, c.step)
					}
				}
				if text := x.String(); !strings.HasPrefix(text, "gssapi.Context(") {
					t.Error(text)
				}
				if err := x.Close(); err != nil {
					t.Error(err)
				}
				wantGone(t, x)
			})
		}
		t.Run("fresh", func(t *testing.T) {
			i, a := contexts(t, o, nil)
			for _, c := range []*Context{i, a} {
				wantGone(t, c)
				if c.is() != fresh {
					t.Errorf("%v", c)
				}
			}
			if err := handshake(i, a, nil); err != nil {
				t.Error(err)
			}
			exchange(t, i, a)
		})
	})
	t.Run("partial", func(t *testing.T) {
		partials(t, func(t *testing.T, c, peer *Context, finish func()) {
			for what, err := range uses(c) {
				want := ErrNoContext
				if what == "Export" {
					want = ErrUnavailable
				}
				wantErr(t, what, err, want)
			}
			finish()
			exchange(t, c, peer)
		})
	})
}

func TestStepCancelledBefore(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		i, a := contexts(t, &InitiatorOptions{Mech: mech}, nil)
		_, err := i.Step(ctx, nil)
		wantErr(t, "Step", err, context.Canceled, ErrFailure)
		// Nothing is lost.
		first := step(t, i, nil)
		_, err = a.Step(ctx, first)
		wantErr(t, "Step", err, context.Canceled)
		if err := handshake(i, a, step(t, a, first)); err != nil {
			t.Fatal(err)
		}
		_, err = i.Step(ctx, nil)
		wantErr(t, "Step of an established one", err, ErrFailure)
		exchange(t, i, a)
	})
}

func TestStepWhenEstablished(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			for range 2 {
				token, err := c.Step(t.Context(), []byte("junk"))
				wantErr(t, "Step", err, ErrFailure)
				if token != nil {
					t.Error("there is a token")
				}
				exchange(t, c, peer) // no harm done
				c = transfer(t, c)
			}
		})
	})
}

func TestStepAfterFailure(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := contexts(t, &InitiatorOptions{Mech: mech}, nil)
		first := step(t, i, nil)
		second := step(t, a, first)
		_, err := i.Step(t.Context(), second[:len(second)/2])
		if err == nil {
			t.Fatal("half a token was accepted")
		}
		for _, token := range [][]byte{nil, second, []byte("junk")} {
			out, again := i.Step(t.Context(), token)
			if again != err || out != nil {
				t.Errorf("Step after a failure: %v, want %v", again, err)
			}
		}
	})
}

// MIT 1.20 would wait for another token after one of a kind that Kerberos has
// not, with none for the peer.
func TestTokenOfNoKind(t *testing.T) {
	for _, body := range []string{"", "\x01\x00", "\x02\x00junk", "junk", "\x7f\xff" + strings.Repeat("x", 100)} {
		for _, mech := range []OID{MechKrb5, MechSPNEGO} {
			a := NewAcceptor(nil)
			out, err := a.Step(t.Context(), frame(mech, body))
			if err == nil && len(out) == 0 {
				t.Errorf("%v, %q: neither an error nor a token", mech, body)
			}
			if mech == MechKrb5 && err == nil {
				t.Errorf("%q: accepted", body)
			}
		}
	}
}

func TestInitiatorSpeaksFirst(t *testing.T) {
	_, err := NewInitiator(importName(t, "host@server.test", NTHostBasedService), nil).Step(t.Context(), []byte("token"))
	wantErr(t, "Step", err, ErrDefectiveToken)
	_, err = NewInitiator(nil, nil).Step(t.Context(), nil)
	wantErr(t, "Step without a target", err, ErrBadName)
	n := importName(t, "host@server.test", NTHostBasedService)
	n.Close()
	_, err = NewInitiator(n, nil).Step(t.Context(), nil)
	wantErr(t, "Step with a closed target", err, ErrBadName)
}

func TestUnknownService(t *testing.T) {
	needsHandshake(t)
	n := importName(t, "host@nobody.test", NTHostBasedService)
	_, err := NewInitiator(n, nil).Step(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "nobody.test") {
		t.Errorf("%v does not name the service", err)
	}
}

// A failed accept may have a token that tells the initiator why. MIT has one
// when the keytab has not got the key.
func TestErrorToken(t *testing.T) {
	needsHandshake(t)
	var env []string
	if os.Getenv(childEnv) == "" {
		only, err := realm.Keytab(other)
		if err != nil {
			t.Fatal(err)
		}
		env = []string{"KRB5_KTNAME=FILE:" + only}
	}
	// Heimdal reads KRB5_KTNAME once.
	if !inChild(t, env) {
		return
	}
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := contexts(t, &InitiatorOptions{Mech: mech}, nil)
		token, err := a.Step(t.Context(), step(t, i, nil))
		if err == nil {
			t.Fatal("accepted without a key")
		}
		t.Logf("acceptor: a token of %d bytes, %v", len(token), err)
		if len(token) == 0 {
			if kind() == gss.KindMIT {
				t.Error("MIT made no token")
			}
			return
		}
		if out, again := a.Step(t.Context(), nil); again != err || out != nil {
			t.Errorf("the next Step: %v", again)
		}
		_, err = i.Step(t.Context(), token)
		if err == nil {
			t.Fatal("the initiator took an error token for a good one")
		}
		t.Logf("initiator: %v", err)
	})
}

func TestInfo(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			info, err := c.Info()
			if err != nil {
				t.Fatal(err)
			}
			if info.Initiator.String() != realm.Principal("alice") || info.Acceptor.String() != realm.Principal(service) {
				t.Errorf("%v and %v", info.Initiator, info.Acceptor)
			}
			if want := info.Acceptor; info.Local != c.initiator || info.Local && info.Peer() != want || !info.Local && info.Peer() != info.Initiator {
				t.Errorf("%+v", info)
			}
			if info.Mech != MechKrb5 || info.Flags&(DefaultFlags|FlagTrans) != DefaultFlags|FlagTrans {
				t.Errorf("%v, %v", info.Mech, info.Flags)
			}
			if left := time.Until(info.Expiry); left < time.Hour || left > 24*time.Hour {
				t.Errorf("it expires at %v", info.Expiry)
			}
			// The names are the caller's.
			c.Close()
			if info.Peer().String() == "" || strings.HasPrefix(info.Peer().String(), "(") {
				t.Errorf("the peer is %v", info.Peer())
			}
		})
	})
}

// What is printed of a context holds no secret and no address.
func TestContextPrints(t *testing.T) {
	i, a := NewInitiator(nil, nil), NewAcceptor(nil)
	for c, want := range map[*Context]string{i: "gssapi.Context(initiator, fresh)", a: "gssapi.Context(acceptor, fresh)", nil: "gssapi.Context(nil)"} {
		for _, got := range []string{c.String(), fmt.Sprint(c), fmt.Sprintf("%v", c), fmt.Sprintf("%+v", c)} {
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	if kind() == gss.KindGNU {
		return
	}
	i, a = pair(t, nil, nil)
	i.Close()
	export(t, a)
	if i.String() != "gssapi.Context(initiator, closed)" || a.String() != "gssapi.Context(acceptor, gone)" {
		t.Errorf("%v, %v", i, a)
	}
}

func TestStepConcurrently(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for range 20 {
			i, a := contexts(t, &InitiatorOptions{Mech: mech}, nil)
			// One of many first Steps gets the token, others an error: a second
			// leg without a token fails the context.
			var wg sync.WaitGroup
			var mu sync.Mutex
			var tokens [][]byte
			for range 4 {
				wg.Go(func() {
					token, err := a.Step(t.Context(), frame(mech, "junk"))
					if err == nil {
						t.Errorf("junk was accepted")
					}
					_ = token
					token, err = i.Step(t.Context(), nil)
					if err == nil && len(token) > 0 {
						mu.Lock()
						tokens = append(tokens, token)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if len(tokens) != 1 {
				t.Errorf("%d first tokens", len(tokens))
			}
		}
	})
}

// Close in the midst of everything: each call ends well or with ErrNoContext.
func TestCloseConcurrently(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for range 10 {
			i, a := pair(t, &InitiatorOptions{Mech: mech, Without: unordered}, nil)
			sealed, mic := wrap(t, a, "msg"), func() []byte { m, _ := a.AppendMIC(nil, []byte("msg")); return m }()
			ready := make(chan struct{}, 100)
			calls := []func() error{
				func() error { _, err := i.Wrap([]byte("msg")); return err },
				func() error { _, err := i.Unwrap(sealed); return err },
				func() error { _, err := i.AppendMIC(nil, []byte("msg")); return err },
				func() error { return i.VerifyMIC([]byte("msg"), mic) },
				func() error { _, err := i.Info(); return err },
				func() error { _, err := i.MaxMessage(100, Private); return err },
				func() error { i.Delegated(); _ = i.String(); return nil },
			}
			var wg sync.WaitGroup
			for _, call := range calls {
				wg.Go(func() {
					for n := 0; ; n++ {
						if err := call(); err != nil {
							if !errors.Is(err, ErrNoContext) {
								t.Error(err)
							}
							return
						}
						if n == 5 {
							ready <- struct{}{}
						}
						if n > 5 && i.is() == closed {
							return
						}
					}
				})
			}
			for range calls {
				<-ready
			}
			i.Close()
			wg.Wait()
			wantGone(t, i)
		}
		// And during the handshake.
		for range 30 {
			i, a := contexts(t, &InitiatorOptions{Mech: mech}, nil)
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := handshake(i, a, nil); err != nil && !errors.Is(err, ErrNoContext) {
					t.Error(err)
				}
			})
			wg.Go(func() { i.Close() })
			wg.Wait()
			wantGone(t, i)
		}
	})
}

// What nobody closes, the collector releases.
func TestCollector(t *testing.T) {
	needsHandshake(t)
	before := settle(0)
	for range 50 {
		i, a := pair(t, &InitiatorOptions{Flags: FlagDeleg, Mech: MechSPNEGO}, nil)
		if a.Delegated() == nil {
			t.Fatal("no delegated credential")
		}
		exchange(t, i, a)
		partly := NewInitiator(target(t), nil)
		step(t, partly, nil)
	}
	if gss.Live() <= before {
		t.Error("nothing is counted")
	}
	if left := settle(before); left > before {
		t.Errorf("%d handles before, %d after", before, left)
	}
}

// The loop of the package comment, over channels.
func TestLoopOfTheDoc(t *testing.T) {
	needsHandshake(t)
	toServer, toClient := make(chan []byte, 1), make(chan []byte, 1)
	done := make(chan error, 1)
	go func() {
		a := NewAcceptor(nil)
		for !a.Established() {
			out, err := a.Step(t.Context(), <-toServer)
			if len(out) > 0 {
				toClient <- out
			}
			if err != nil {
				done <- err
				return
			}
		}
		msg, err := a.Unwrap(<-toServer)
		if err == nil && string(msg) != "hello" {
			err = fmt.Errorf("got %q", msg)
		}
		done <- err
	}()
	c := NewInitiator(target(t), nil)
	for token := []byte(nil); !c.Established(); {
		out, err := c.Step(t.Context(), token)
		if len(out) > 0 {
			toServer <- out
		}
		if err != nil {
			t.Fatal(err)
		}
		if !c.Established() {
			token = <-toClient
		}
	}
	toServer <- wrap(t, c, "hello")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
