package gss

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// acceptorCred is a credential that can be had without a KDC.
func acceptorCred(t *testing.T) *Cred {
	t.Helper()
	needKrb5(t)
	r, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageAccept)
	check(t, err)
	t.Cleanup(r.Cred.Release)
	return r.Cred
}

// nameCalls are all calls that a Name can be used in.
func nameCalls(n, other *Name) map[string]func() error {
	return map[string]func() error{
		"Display":         func() error { b, _, err := n.Display(); b.Release(); return err },
		"Compare":         func() error { _, err := n.Compare(other); return err },
		"Compare, second": func() error { _, err := other.Compare(n); return err },
		"Duplicate":       func() error { d, err := n.Duplicate(); d.Release(); return err },
		"Canonicalize":    func() error { d, err := n.Canonicalize(MechKrb5); d.Release(); return err },
		"Export":          func() error { b, err := n.Export(); b.Release(); return err },
		"InquireMechs":    func() error { _, err := n.InquireMechs(); return err },
		"Init":            func() error { _, err := NewCtx().Init(&InitArgs{Target: n}); return err },
		"Detach":          func() error { _, err := n.Detach(); return err },
	}
}

func TestReleasedName(t *testing.T) {
	needLibrary(t)
	awaitLive(t, 0)
	n, other := nameOf(t, hostName, NTHostBasedService), nameOf(t, hostName, NTHostBasedService)
	before := Live()
	n.Release()
	n.Release()
	if Live() != before-1 {
		t.Errorf("two releases gave back %d names", before-Live())
	}
	calls := nameCalls(n, other)
	calls["AcquireCred"] = func() error { _, err := AcquireCred(n, 0, nil, UsageAccept); return err }
	calls["AcquireCredFrom"] = func() error { _, err := AcquireCredFrom(n, 0, nil, UsageBoth, nil); return err }
	calls["AcquireCredWithPassword"] = func() error { _, err := AcquireCredWithPassword(n, []byte("x"), 0, nil, UsageBoth); return err }
	calls["Add"] = func() error { _, err := (*Cred)(nil).Add(n, MechKrb5, UsageBoth, 0, 0); return err }
	for name, call := range calls {
		err := call()
		if !errors.Is(err, ErrBadName) {
			t.Errorf("%s: %v", name, err)
		}
		mention(t, err, "released")
	}
	if equal, err := other.Compare(other); err != nil || !equal {
		t.Errorf("the other name: %v, %v", equal, err)
	}
}

// GSS_C_NO_NAME crashes Heimdal 7.8 in most calls.
func TestNilName(t *testing.T) {
	needLibrary(t)
	var n *Name
	n.Release()
	for name, call := range nameCalls(n, nameOf(t, hostName, NTHostBasedService)) {
		err := call()
		if !errors.Is(err, ErrBadName) {
			t.Errorf("%s: %v", name, err)
		}
		mention(t, err, "no name was given")
	}
}

// A released credential is an error. It never becomes the default credential,
// which is somebody else.
func TestReleasedCred(t *testing.T) {
	needLibrary(t)
	awaitLive(t, 0)
	c := acceptorCred(t)
	before := Live()
	c.Release()
	c.Release()
	if Live() != before-1 {
		t.Errorf("two releases gave back %d credentials", before-Live())
	}
	target := server(t)
	for name, call := range map[string]func() error{
		"Inquire":       func() error { _, err := c.Inquire(); return err },
		"InquireByMech": func() error { _, err := c.InquireByMech(MechKrb5); return err },
		"Add":           func() error { _, err := c.Add(nil, MechKrb5, UsageAccept, 0, 0); return err },
		"Init":          func() error { _, err := NewCtx().Init(&InitArgs{Target: target, Cred: c}); return err },
		"Accept":        func() error { _, err := NewCtx().Accept(&AcceptArgs{Cred: c, Token: []byte("x")}); return err },
		"Detach":        func() error { _, err := c.Detach(); return err },
	} {
		err := call()
		if !errors.Is(err, ErrNoCred) {
			t.Errorf("%s: %v", name, err)
		}
		mention(t, err, "released")
	}
	// The default credential is there all the time.
	i, err := (*Cred)(nil).Inquire()
	check(t, err)
	i.Name.Release()
	var none *Cred
	none.Release()
	_, err = none.Detach()
	is(t, err, ErrNoCred)
}

// ctxCalls are all calls that an established context can be used in.
func ctxCalls(x *Ctx) map[string]func() error {
	return map[string]func() error{
		"Wrap":          func() error { _, _, err := x.Wrap(nil, []byte("m"), true, 0); return err },
		"Unwrap":        func() error { _, _, _, err := x.Unwrap(nil, []byte("m")); return err },
		"GetMIC":        func() error { _, err := x.GetMIC(nil, []byte("m"), 0); return err },
		"VerifyMIC":     func() error { _, err := x.VerifyMIC([]byte("m"), []byte("m")); return err },
		"WrapSizeLimit": func() error { _, err := x.WrapSizeLimit(true, 0, 1000); return err },
		"Time":          func() error { _, err := x.Time(); return err },
		"Inquire":       func() error { _, err := x.Inquire(); return err },
		"ProcessToken":  func() error { return x.ProcessToken([]byte("m")) },
		"Export":        func() error { _, err := x.Export(); return err },
		"Detach":        func() error { _, err := x.Detach(); return err },

		"InquireByOID":      func() error { _, err := x.InquireByOID(InqSSPISessionKey); return err },
		"SetOption":         func() error { return x.SetOption(InqSASLSSF, []byte("v")) },
		"StreamSizes":       func() error { _, err := x.StreamSizes(); return err },
		"CompleteAuthToken": func() error { return x.CompleteAuthToken([]byte("m")) },
		"PseudoRandom":      func() error { _, err := x.PseudoRandom(nil, PRFKeyFull, []byte("s"), 0); return err },
		"TicketFlags":       func() error { _, err := x.TicketFlags(); return err },
		"AuthTime":          func() error { _, err := x.AuthTime(); return err },
		"AuthorizationData": func() error { _, err := x.AuthorizationData(1); return err },
		"PAC":               func() error { _, err := x.PAC(); return err },
		"ServiceKey":        func() error { _, err := x.ServiceKey(); return err },
		"InitiatorSubkey":   func() error { _, err := x.InitiatorSubkey(); return err },
		"Subkey":            func() error { _, err := x.Subkey(); return err },
		"InquireLucid":      func() error { _, err := x.InquireLucid(); return err },
		"ExportLucid":       func() error { _, err := x.ExportLucid(); return err },
	}
}

func noContext(t *testing.T, x *Ctx, text string) {
	t.Helper()
	for name, call := range ctxCalls(x) {
		err := call()
		if !errors.Is(err, ErrNoContext) {
			t.Errorf("%s: %v", name, err)
		}
		mention(t, err, text)
	}
}

// Contexts that are not established do not reach the library: Heimdal 7.8
// crashes or aborts.
func TestContextStates(t *testing.T) {
	needKrb5(t)
	awaitLive(t, 0)
	target := server(t)
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		var none *Ctx
		noContext(t, none, "no context was given")
		none.Delete()

		x := NewCtx()
		noContext(t, x, "there is no context")
		if !x.Gone() {
			t.Error("a new context is there")
		}

		s, err := x.Init(&InitArgs{Target: target, Mech: mech, Flags: allFlags})
		check(t, err)
		s.Token.Release()
		if s.Done || x.Gone() {
			t.Errorf("%v: done %v, gone %v", mech, s.Done, x.Gone())
		}
		noContext(t, x, "not established yet")

		// A bad reply ends it for good.
		before := Live()
		s, err = x.Init(&InitArgs{Target: target, Mech: mech, Flags: allFlags, Token: []byte("junk")})
		if err == nil || s == nil || s.Done {
			t.Fatalf("%v: a bad reply: %+v, %v", mech, s, err)
		}
		s.Token.Release()
		if !x.Gone() || Live() != before-1 {
			t.Errorf("%v: gone %v, %d released", mech, x.Gone(), before-Live())
		}
		noContext(t, x, "there is no context")
		for range 2 {
			_, err = x.Init(&InitArgs{Target: target, Mech: mech})
			is(t, err, ErrNoContext)
			mention(t, err, "failed to establish")
		}
		_, err = x.Accept(&AcceptArgs{Token: []byte("x")})
		is(t, err, ErrNoContext)
		mention(t, err, "failed to establish")
		x.Delete()
		x.Delete()
		noContext(t, x, "deleted")
		_, err = x.Init(&InitArgs{Target: target})
		is(t, err, ErrNoContext)

		i, a := establish(t, mech, allFlags)
		for _, x := range []*Ctx{i, a} {
			_, err = x.Init(&InitArgs{Target: target})
			is(t, err, ErrNoContext)
			mention(t, err, "established already")
			_, err = x.Accept(&AcceptArgs{Token: []byte("x")})
			is(t, err, ErrNoContext)
			if x.Gone() {
				t.Error("an established context is gone")
			}
			x.Delete()
			x.Delete()
			if !x.Gone() {
				t.Error("a deleted context is there")
			}
			noContext(t, x, "deleted")
		}
	}
}

func TestDetachAdopt(t *testing.T) {
	needKrb5(t)
	awaitLive(t, 0)
	// Name, of each kind that the package tells apart.
	imported := nameOf(t, hostName, NTHostBasedService)
	canonical, err := imported.Canonicalize(MechKrb5)
	check(t, err)
	for what, n := range map[string]*Name{"imported": imported, "canonical": canonical} {
		for range 2 {
			before := Live()
			h, err := n.Detach()
			check(t, err)
			if Live() != before-1 {
				t.Errorf("%s: detached, and held", what)
			}
			_, err = n.Detach()
			is(t, err, ErrBadName)
			_, _, err = n.Display()
			is(t, err, ErrBadName)
			n.Release()
			n, err = AdoptName(h)
			check(t, err)
			if Live() != before {
				t.Errorf("%s: adopted, and not held", what)
			}
			for name, call := range nameCalls(n, n) {
				if name == "Detach" || name == "Export" || name == "Init" || name == "Duplicate" {
					continue // ends it, is for mechanism names, needs a KDC, or cannot be on Heimdal
				}
				if err := call(); err != nil {
					t.Errorf("%s: %s: %v", what, name, err)
				}
			}
		}
		n.Release()
	}

	// Cred.
	r, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageAccept)
	check(t, err)
	h, err := r.Cred.Detach()
	check(t, err)
	_, err = r.Cred.Inquire()
	is(t, err, ErrNoCred)
	c, err := AdoptCred(h)
	check(t, err)
	info, err := c.Inquire()
	check(t, err)
	if info.Usage != UsageAccept {
		t.Errorf("usage %d", info.Usage)
	}
	info.Name.Release()

	// Ctx.
	i, a := establish(t, MechKrb5, allFlags)
	h, err = a.Detach()
	check(t, err)
	noContext(t, a, "there is no context")
	a.Delete()
	a, err = AdoptCtx(h)
	check(t, err)
	// The adopted credential and the adopted context go on where they were.
	tok, _, err := i.Wrap(nil, []byte("hello"), true, 0)
	check(t, err)
	msg, _, _, err := a.Unwrap(nil, tok)
	if err != nil || string(msg) != "hello" {
		t.Errorf("%q, %v", msg, err)
	}
	a.Delete()
	i.Delete()
	i, a, err = handshake(&InitArgs{Target: server(t), Mech: MechKrb5, Flags: allFlags}, &AcceptArgs{Cred: c})
	check(t, err)
	i.Delete()
	a.Delete()
	c.Release()
}

// Two calls that take the same two names in another order, or one name twice, do
// not wait for each other: an adopted name is for one call at a time on Heimdal.
func TestCompareAdopted(t *testing.T) {
	needLibrary(t)
	adopt := func() *Name {
		n, err := ImportName([]byte(hostName), NTHostBasedService)
		check(t, err)
		h, err := n.Detach()
		check(t, err)
		n, err = AdoptName(h)
		check(t, err)
		t.Cleanup(n.Release)
		return n
	}
	a, b := adopt(), adopt()
	var wg sync.WaitGroup
	for _, pair := range [][2]*Name{{a, a}, {a, b}, {b, a}, {b, b}} {
		for range 4 {
			wg.Go(func() {
				for range 10_000 {
					if equal, err := pair[0].Compare(pair[1]); err != nil || !equal {
						t.Errorf("%v, %v", equal, err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// many is how many goroutines share an object.
func many() int {
	if testing.Short() || raceBuild || asanBuild {
		return 300
	}
	return 3000
}

func TestOneNameManyGoroutines(t *testing.T) {
	needLibrary(t)
	n, other := nameOf(t, hostName, NTHostBasedService), nameOf(t, hostName, NTHostBasedService)
	var wg sync.WaitGroup
	for range many() {
		wg.Go(func() {
			b, _, err := n.Display()
			if err != nil || string(b.Bytes()) != hostName {
				t.Errorf("%q, %v", b.Bytes(), err)
			}
			b.Release()
			if equal, err := n.Compare(other); err != nil || !equal {
				t.Errorf("%v, %v", equal, err)
			}
			c, err := n.Canonicalize(MechKrb5)
			if err != nil {
				t.Error(err)
				return
			}
			b, err = c.Export()
			if err != nil || b.Len() == 0 {
				t.Error(err)
			}
			b.Release()
			c.Release()
			d, err := n.Duplicate()
			if err != nil {
				t.Error(err)
			}
			d.Release()
		})
	}
	wg.Wait()
}

// One name and one credential, from many handshakes at once.
func TestOneCredManyGoroutines(t *testing.T) {
	c, target := acceptorCred(t), server(t)
	r, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageInitiate)
	check(t, err)
	defer r.Cred.Release()
	var wg sync.WaitGroup
	for g := range many() / 10 {
		wg.Go(func() {
			for _, x := range []*Cred{c, r.Cred} {
				info, err := x.Inquire()
				if err != nil {
					t.Error(err)
					return
				}
				info.Name.Release()
				if info, err = x.InquireByMech(MechKrb5); err != nil {
					t.Error(err)
					return
				}
				info.Name.Release()
			}
			mech := MechKrb5
			if g%2 == 1 {
				mech = MechSPNEGO
			}
			i, a, err := handshake(&InitArgs{Target: target, Cred: r.Cred, Mech: mech, Flags: allFlags}, &AcceptArgs{Cred: c})
			if mech == MechSPNEGO && err != nil {
				// The credential is for Kerberos only, which some libraries do not take for SPNEGO.
				i, a, err = handshake(&InitArgs{Target: target, Cred: r.Cred, Mech: MechKrb5, Flags: allFlags}, &AcceptArgs{Cred: c})
			}
			if err != nil {
				t.Error(err)
				return
			}
			i.Delete()
			a.Delete()
		})
	}
	wg.Wait()
}

// RFC 2744 has no concurrent calls on a context: the package makes them one
// after the other.
func TestOneContextManyGoroutines(t *testing.T) {
	needKrb5(t)
	i, a := establish(t, MechKrb5, allFlags&^(FlagReplay|FlagSequence))
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			msg := []byte{byte(g), 1, 2, 3}
			for range 50 {
				tok, _, err := i.Wrap(nil, msg, true, 0)
				if err != nil {
					t.Error(err)
					return
				}
				got, _, _, err := a.Unwrap(nil, tok)
				if err != nil || string(got) != string(msg) {
					t.Errorf("%q, %v", got, err)
				}
				mic, err := a.GetMIC(nil, msg, 0)
				if err != nil {
					t.Error(err)
				}
				if _, err := i.VerifyMIC(msg, mic); err != nil {
					t.Error(err)
				}
				info, err := i.Inquire()
				if err != nil {
					t.Error(err)
					return
				}
				info.Source.Release()
				info.Target.Release()
			}
		})
	}
	wg.Wait()
}

// Delete, Gone and calls at once: each call works or says that there is no
// context.
func TestDeleteWhileInUse(t *testing.T) {
	needKrb5(t)
	awaitLive(t, 0)
	for range 20 {
		i, _ := establish(t, MechKrb5, allFlags)
		before := Live()
		var calls atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for {
					_, _, err := i.Wrap(nil, []byte("m"), true, 0)
					gone := i.Gone()
					if err != nil {
						is(t, err, ErrNoContext)
						if !gone {
							t.Error("no context, and not gone")
						}
						return
					}
					calls.Add(1)
				}
			})
		}
		for calls.Load() < 20 {
			runtime.Gosched()
		}
		i.Delete()
		wg.Wait()
		if Live() != before-1 {
			t.Errorf("%d contexts were released", before-Live())
		}
	}
}

// The same for names, by Release and by Detach, which waits.
func TestReleaseWhileInUse(t *testing.T) {
	needLibrary(t)
	for round := range 20 {
		awaitLive(t, 0)
		n, err := ImportName([]byte(hostName), NTHostBasedService)
		check(t, err)
		var calls atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 200 {
					b, _, err := n.Display()
					if err != nil {
						is(t, err, ErrBadName)
						return
					}
					b.Release()
					calls.Add(1)
				}
			})
		}
		for calls.Load() < 20 {
			runtime.Gosched()
		}
		if round%2 == 0 {
			n.Release()
		} else {
			h, err := n.Detach()
			check(t, err)
			again, err := AdoptName(h)
			check(t, err)
			again.Release()
		}
		wg.Wait()
		if Live() != 0 {
			t.Errorf("%d things are held", Live())
		}
	}
}

// What is unreachable is given back, and nothing that a call uses is.
func TestHandlesCollected(t *testing.T) {
	needKrb5(t)
	awaitLive(t, 0)
	func() {
		for range 10 {
			n, err := ImportName([]byte(hostName), NTHostBasedService)
			check(t, err)
			i, a, err := handshake(&InitArgs{Target: n, Mech: MechSPNEGO, Flags: allFlags | FlagDeleg}, &AcceptArgs{})
			check(t, err)
			_, err = i.Inquire()
			check(t, err)
			_, err = a.Inquire()
			check(t, err)
			r, err := AcquireCred(nil, 0, nil, UsageAccept)
			check(t, err)
			_, err = r.Cred.Inquire()
			check(t, err)
			// A context that is given up half way.
			x := NewCtx()
			_, err = x.Init(&InitArgs{Target: n, Mech: MechKrb5, Flags: allFlags})
			check(t, err)
		}
	}()
	if Live() == 0 {
		t.Error("nothing was held")
	}
	awaitLive(t, 0)
}

// No cleanup runs during a call, even if the object is not mentioned afterwards.
func TestCollectionDuringCalls(t *testing.T) {
	needLibrary(t)
	stop := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	for range 300 {
		n, err := ImportName([]byte(hostName), NTHostBasedService)
		check(t, err)
		c, err := n.Canonicalize(MechKrb5)
		check(t, err)
		b, err := c.Export()
		check(t, err)
		if b.Len() < len(hostName) {
			t.Error("the name is gone")
		}
	}
	close(stop)
	wg.Wait()
}
