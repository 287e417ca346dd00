package gssapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/seed2651813c/gss"
)

// What goroutines may do to an object that they share: everything, at once.

// action is a method of a shared object. call returns an error that is not
// documented if the method did something wrong.
type action struct {
	name string
	call func() error
	errs []error // documented, besides that of an object that is gone
	ends bool    // the object is gone afterwards
}

// together calls x and y from 16 goroutines each, and others from one each. All
// begin at the same moment. gone is what an action may return once the object is
// gone.
func together(t *testing.T, x, y action, gone error, others ...func()) {
	t.Helper()
	calls := 4
	if asanBuild {
		calls = 1
	}
	begin := make(chan struct{})
	var ready, done sync.WaitGroup
	start := func(f func()) {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			f()
		})
	}
	for g := range 32 {
		a := x
		if g%2 == 1 {
			a = y
		}
		start(func() {
			for range calls {
				err := a.call()
				documented := err == nil || (x.ends || y.ends) && errors.Is(err, gone)
				if !documented && !slices.ContainsFunc(a.errs, func(e error) bool { return errors.Is(err, e) }) {
					t.Errorf("%s and %s: %s: %v", x.name, y.name, a.name, err)
				}
			}
		})
	}
	for _, f := range others {
		start(f)
	}
	ready.Wait()
	close(begin)
	done.Wait()
}

// eachPair calls f a few times for each unordered pair of n actions, those of an
// action with itself included. AddressSanitizer makes some libraries slow: with
// it each pair is for one of the callers, of which this is number part of parts.
func eachPair(n, part, parts int, f func(x, y int)) {
	pair := 0
	for x := range n {
		for y := range x + 1 {
			pair++
			if asanBuild && pair%parts != part {
				continue
			}
			for range rounds() {
				f(x, y)
			}
		}
	}
}

// rounds is how often each pair is tried.
func rounds() int {
	switch {
	case asanBuild:
		return 1
	case raceBuild, testing.Short():
		return 2
	}
	return 3
}

// shared is a context that many use, and what came of that.
type shared struct {
	t       *testing.T
	c       *Context
	in, mic [][]byte // from the peer, in sequence: messages, and MICs of text

	read atomic.Int64 // how many of in were tried
	mics atomic.Int64

	mu     sync.Mutex
	got    map[string]int // messages that were taken
	sent   [][]byte       // messages and MICs for the peer
	token  []byte         // that Export returned
	handle unsafe.Pointer // that Detach returned
	moved  int            // how often either did
}

const text = "to be signed"

// misplaced are the errors of a message that does not come in its turn.
func misplaced() []error {
	errs := []error{ErrGapToken, ErrUnseqToken, ErrDuplicateToken, ErrOldToken}
	if kind() == gss.KindHeimdal {
		errs = append(errs, ErrFailure) // as 7.8 calls some that are late
	}
	return errs
}

func (s *shared) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// actions are all methods of an established context.
func (s *shared) actions() []action {
	return []action{
		{name: "Close", ends: true, call: func() error {
			err := s.c.Close()
			if is := s.c.is(); is != closed {
				return fmt.Errorf("closed, and %v", s.c)
			}
			return err
		}},
		{name: "Export", ends: true, call: func() error {
			token, err := s.c.Export()
			if err != nil {
				if token != nil {
					return fmt.Errorf("a token with the error %v", err)
				}
				return err
			}
			s.locked(func() { s.token = token; s.moved++ })
			return nil
		}},
		{name: "Detach", ends: true, call: func() error {
			h, err := s.c.Detach()
			if err != nil {
				return err
			}
			s.locked(func() { s.handle = h; s.moved++ })
			return nil
		}},
		{name: "Step", errs: []error{ErrFailure}, call: func() error {
			out, err := s.c.Step(context.Background(), []byte("token"))
			if err == nil || out != nil {
				return fmt.Errorf("an established context takes a token: %q", out)
			}
			return err
		}},
		{name: "Wrap", call: func() error {
			token, err := s.c.Wrap([]byte("hello"))
			if err == nil {
				s.locked(func() { s.sent = append(s.sent, token) })
			}
			return err
		}},
		{name: "Unwrap", errs: misplaced(), call: func() error {
			msg, err := s.c.Unwrap(s.in[(s.read.Add(1)-1)%int64(len(s.in))])
			if err == nil {
				s.locked(func() { s.got[string(msg)]++ })
			}
			return err
		}},
		{name: "AppendMIC", call: func() error {
			mic, err := s.c.AppendMIC(nil, []byte(text))
			if err == nil {
				s.locked(func() { s.sent = append(s.sent, mic) })
			}
			return err
		}},
		{name: "VerifyMIC", errs: misplaced(), call: func() error {
			return s.c.VerifyMIC([]byte(text), s.mic[(s.mics.Add(1)-1)%int64(len(s.mic))])
		}},
		{name: "Info", call: func() error {
			info, err := s.c.Info()
			if err != nil {
				return err
			}
			defer info.Initiator.Close()
			defer info.Acceptor.Close()
			if got, want := info.Initiator.String(), realm.Principal("alice"); got != want {
				return fmt.Errorf("the initiator is %v, want %v", got, want)
			}
			return nil
		}},
		{name: "MaxMessage", call: func() error {
			n, err := s.c.MaxMessage(1000, Private)
			if err == nil && (n <= 0 || n >= 1000) {
				return fmt.Errorf("%d bytes", n)
			}
			return err
		}},
		{name: "Delegated", call: func() error {
			if cred := s.c.Delegated(); cred != nil {
				return fmt.Errorf("there is a credential")
			}
			return nil
		}},
		{name: "String", call: func() error {
			here, text := s.c.Established(), s.c.String()
			for _, is := range []string{"established", "gone", "closed"} {
				if text == fmt.Sprintf("gssapi.Context(%s, %s)", s.c.side(), is) && (here || is != "established" || !s.c.Established()) {
					return nil
				}
			}
			return fmt.Errorf("established %v, and %s", here, text)
		}},
	}
}

// readBy fails the test unless peer takes all that was sent, in the order of its
// numbers, and then what follows from where the context went.
func (s *shared) readBy(peer *Context, what string) {
	s.t.Helper()
	slices.SortFunc(s.sent, func(x, y []byte) int { return int(sequenceNumber(x)) - int(sequenceNumber(y)) })
	for n, token := range s.sent {
		var err error
		if token[0] == 5 {
			_, err = peer.Unwrap(token)
		} else {
			err = peer.VerifyMIC([]byte(text), token)
		}
		if err != nil {
			s.t.Fatalf("%s: the peer refuses message %d of %d: %v", what, n, len(s.sent), err)
		}
	}
	for msg, n := range s.got {
		if n != 1 || !strings.HasPrefix(msg, "message ") {
			s.t.Errorf("%s: %q was taken %d times", what, msg, n)
		}
	}
	if next := s.next(); next.Established() {
		send(s.t, next, peer, "the next message")
		next.Close()
	}
}

// next is where the context is now.
func (s *shared) next() *Context {
	s.t.Helper()
	switch {
	case s.token != nil:
		return importContextOf(s.t, s.token, nil)
	case s.handle != nil:
		c, err := Adopt(s.handle, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		return c
	}
	return s.c
}

// Every pair of methods on one established context.
func TestContextPairs(t *testing.T) {
	kept(t)
	part := 0
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			// Each round has both ends as they are now: a token can be imported again
			// and again. What the peer says is the same each time.
			here, there := export(t, c), export(t, peer)
			var in, mics [][]byte
			peer = importContextOf(t, there, nil)
			for n := range 16 {
				in = append(in, wrap(t, peer, fmt.Sprint("message ", n)))
				mic, err := peer.AppendMIC(nil, []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				mics = append(mics, mic)
			}
			peer.Close()
			part++
			eachPair(len((&shared{}).actions()), part%4, 4, func(x, y int) {
				s := &shared{t: t, c: importContextOf(t, here, nil), in: in, mic: mics, got: map[string]int{}}
				peer := importContextOf(t, there, nil)
				defer peer.Close()
				a := s.actions()
				what := a[x].name + " and " + a[y].name
				together(t, a[x], a[y], ErrNoContext)
				ends, closes := a[x].ends || a[y].ends, a[x].name == "Close" || a[y].name == "Close"
				if s.moved > 1 || ends && !closes && s.moved != 1 {
					t.Errorf("%s: the context was given away %d times", what, s.moved)
				}
				if s.c.Established() == ends {
					t.Errorf("%s: %v", what, s.c)
				}
				s.readBy(peer, what)
				if ends {
					wantGone(t, s.c)
				}
				s.c.Close()
			})
		})
	})
}

// handshakeActions are all methods of a context that is not established yet, and
// may be in the meantime. Its Step takes token; what it returns is for taken.
func (s *shared) handshakeActions(ctx context.Context, token []byte, taken func(out []byte)) []action {
	actions := s.actions()
	for n := range actions {
		a := &actions[n]
		a.errs = []error{ErrNoContext}
		switch a.name {
		case "Export":
			a.errs = append(a.errs, ErrUnavailable) // in the midst of its tokens
		case "Unwrap", "VerifyMIC":
			a.errs = append(a.errs, ErrDefectiveToken)
		case "Step":
			a.errs = nil
			if ctx.Done() != nil {
				a.errs = []error{context.Canceled, ErrNoContext}
			}
			a.call = func() error {
				out, err := s.c.Step(ctx, token)
				switch {
				case err == nil:
					s.locked(func() { taken(out) })
				case out != nil:
					return fmt.Errorf("a token with the error %v", err)
				case strings.Contains(err.Error(), "established already"):
					return nil // by another one
				}
				return err
			}
		case "Delegated":
			a.call = func() error {
				cred := s.c.Delegated()
				if cred == nil {
					return nil
				}
				info, err := cred.Info(context.Background())
				if err == nil {
					info.Name.Close()
				}
				return err
			}
		case "String":
			a.call = func() error {
				s.c.Established()
				if text := s.c.String(); !strings.HasPrefix(text, "gssapi.Context(") {
					return errors.New(text)
				}
				return nil
			}
		}
	}
	return actions
}

// The Step that makes a context an established one, with every other method and
// with itself: one Step takes the token. Then the same while its ctx ends.
func TestStepPairs(t *testing.T) {
	const methods = 12
	kept(t)
	defer idle(t)
	round := func(mech OID, side string, n int, cancels bool) {
		i, a := contexts(t, &InitiatorOptions{Mech: mech, Flags: FlagDeleg}, nil)
		defer i.Close()
		defer a.Close()
		c, peer, token := a, i, step(t, i, nil)
		if side == "initiator" {
			c, peer, token = i, a, step(t, a, token)
		}
		ctx, others := context.Background(), []func(){}
		if cancels {
			var cancel func()
			ctx, cancel = context.WithCancel(ctx)
			others = append(others, cancel)
		}
		taken, reply := 0, []byte(nil)
		s := &shared{t: t, c: c, in: [][]byte{[]byte("token")}, mic: [][]byte{[]byte("mic")}}
		actions := s.handshakeActions(ctx, token, func(out []byte) { taken, reply = taken+1, out })
		if len(actions) != methods {
			t.Fatalf("%d methods", len(actions))
		}
		x := actions[slices.IndexFunc(actions, func(a action) bool { return a.name == "Step" })]
		y := actions[n]
		what := fmt.Sprintf("%s, ctx that ends %v: Step and %s", side, cancels, y.name)
		together(t, x, y, ErrNoContext, others...)
		if taken > 1 || taken == 0 && !cancels && !y.ends {
			t.Errorf("%s: %d Steps took the token", what, taken)
		}
		if !cancels && !y.ends && !c.Established() {
			t.Errorf("%s: %v", what, c)
		}
		if s.moved > 1 {
			t.Errorf("%s: the context was given away %d times", what, s.moved)
		}
		if taken == 1 && side == "acceptor" {
			step(t, peer, reply)
		}
		if peer.Established() {
			s.readBy(peer, what)
		} else {
			s.next().Close()
		}
		c.Delegated().Close()
		a.Delegated().Close()
		c.Close()
		wantErr(t, what, second(c.Wrap(nil)), ErrNoContext)
	}
	eachMech(t, func(t *testing.T, mech OID) {
		for _, side := range []string{"acceptor", "initiator"} {
			for n := range methods {
				for range rounds() {
					round(mech, side, n, false)
					round(mech, side, n, true)
				}
			}
		}
	})
}

// wantDetached fails the test unless a Detach got the handle, or Close was first.
func wantDetached(t *testing.T, x, y action, n int32) {
	t.Helper()
	most := int32(0)
	if x.name == "Detach" || y.name == "Detach" {
		most = 1
	}
	if n > most || n < most && x.name != "Close" && y.name != "Close" {
		t.Errorf("%s and %s: it was given away %d times", x.name, y.name, n)
	}
}

// Every pair of uses of one credential, with ctxs that end too.
func TestCredentialPairs(t *testing.T) {
	needsHandshake(t)
	kept(t)
	defer idle(t)
	host, alice := target(t), realm.Principal("alice")
	defer host.Close()
	i := NewInitiator(host, nil)
	defer i.Close()
	first := step(t, i, nil)
	actions := func(c *Credential, usage Usage, ctx context.Context, detached *atomic.Int32) []action {
		inquire := func(info *CredentialInfo, err error) error {
			if err != nil {
				return err
			}
			defer info.Name.Close()
			if info.Usage != usage || !slices.Contains(info.Mechs, MechKrb5) {
				return fmt.Errorf("it is to %v with %v", info.Usage, info.Mechs)
			}
			return nil
		}
		bg := context.Background()
		all := []action{
			{name: "Close", ends: true, call: c.Close},
			{name: "Detach", ends: true, call: func() error {
				h, err := c.Detach()
				if err != nil {
					return err
				}
				detached.Add(1)
				mine, err := AdoptCredential(h)
				if err != nil {
					return err
				}
				defer mine.Close() // now: nobody else may be using it
				return inquire(mine.Info(bg))
			}},
			{name: "Info", call: func() error { return inquire(c.Info(bg)) }},
			{name: "Info until ctx ends", errs: []error{context.Canceled}, call: func() error { return inquire(c.Info(ctx)) }},
			{name: "MechInfo", call: func() error { return inquire(c.MechInfo(bg, MechKrb5)) }},
			// SPNEGO's can be added with MIT; with Heimdal 7.8 none can.
			{name: "Add", errs: []error{ErrUnavailable}, call: func() error {
				both, err := c.Add(bg, &CredentialOptions{Mechs: []OID{MechSPNEGO}, Usage: usage})
				if err != nil {
					return err
				}
				return both.Close()
			}},
		}
		if usage == Accept {
			return append(all, action{name: "Step of an acceptor", call: func() error {
				a := NewAcceptor(&AcceptorOptions{Credential: c})
				defer a.Close()
				if _, err := a.Step(bg, first); err != nil {
					return err
				}
				info, err := a.Info()
				if err != nil {
					return err
				}
				defer info.Initiator.Close()
				defer info.Acceptor.Close()
				if got := info.Peer().String(); got != alice {
					return fmt.Errorf("the initiator is %v, want %v", got, alice)
				}
				return nil
			}})
		}
		return append(all, action{name: "Step of an initiator", call: func() error {
			i := NewInitiator(host, &InitiatorOptions{Credential: c})
			defer i.Close()
			_, err := i.Step(bg, nil)
			return err
		}}, action{name: "Step until ctx ends", errs: []error{context.Canceled}, call: func() error {
			i := NewInitiator(host, &InitiatorOptions{Credential: c})
			defer i.Close()
			_, err := i.Step(ctx, nil)
			return err
		}})
	}
	for _, usage := range []Usage{Initiate, Accept} {
		t.Run(usage.String(), func(t *testing.T) {
			eachPair(len(actions(nil, usage, nil, nil)), 0, 1, func(x, y int) {
				ctx, cancel := context.WithCancel(context.Background())
				c := acquire(t, &CredentialOptions{Usage: usage, Mechs: []OID{MechKrb5}})
				var detached atomic.Int32
				a := actions(c, usage, ctx, &detached)
				together(t, a[x], a[y], ErrNoCred, cancel)
				wantDetached(t, a[x], a[y], detached.Load())
				if err := second(c.Info(t.Context())); !a[x].ends && !a[y].ends && err != nil {
					t.Errorf("%s and %s: afterwards: %v", a[x].name, a[y].name, err)
				}
				c.Close()
				wantErr(t, "Info", second(c.Info(t.Context())), ErrNoCred)
			})
		})
	}
}

// Every pair of uses of one name, of each kind: imported, a mechanism's, and
// adopted from C.
func TestNamePairs(t *testing.T) {
	kept(t)
	defer idle(t)
	principal := realm.Principal(service)
	kinds := map[string]func() *Name{
		"imported": func() *Name { return importName(t, principal, NTKrb5PrincipalName) },
		"canonical": func() *Name {
			n := importName(t, principal, NTKrb5PrincipalName)
			defer n.Close()
			c, err := n.Canonicalize(t.Context(), MechKrb5)
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		"adopted": func() *Name {
			h, err := importName(t, principal, NTKrb5PrincipalName).Detach()
			if err != nil {
				t.Fatal(err)
			}
			n, err := AdoptName(h)
			if err != nil {
				t.Fatal(err)
			}
			return n
		},
	}
	actions := func(n, other *Name, ctx context.Context, detached *atomic.Int32) []action {
		equal := func(x, y *Name) func() error {
			return func() error {
				if !x.Equal(y) {
					return ErrBadName // or gone
				}
				return nil
			}
		}
		canonicalize := func(ctx context.Context) func() error {
			return func() error {
				c, err := n.Canonicalize(ctx, MechKrb5)
				if err != nil {
					return err
				}
				defer c.Close()
				if c.String() != principal {
					return fmt.Errorf("it is %v", c)
				}
				return nil
			}
		}
		all := []action{
			{name: "Close", ends: true, call: n.Close},
			{name: "Detach", ends: true, call: func() error {
				h, err := n.Detach()
				if err != nil {
					return err
				}
				detached.Add(1)
				mine, err := AdoptName(h)
				if err != nil {
					return err
				}
				defer mine.Close() // now: nobody else may be using it
				if !mine.Equal(other) {
					return fmt.Errorf("it is %v", mine)
				}
				return nil
			}},
			{name: "String", call: func() error {
				switch s := n.String(); {
				case s == principal:
					return nil
				case strings.HasPrefix(s, "(") && strings.Contains(s, "the name was released"):
					return ErrBadName
				default:
					return errors.New(s)
				}
			}},
			{name: "Equal with itself", call: equal(n, n)},
			{name: "Equal with another", call: equal(n, other)},
			{name: "Equal of another", call: equal(other, n)},
			{name: "Canonicalize", call: canonicalize(context.Background())},
			{name: "Canonicalize until ctx ends", errs: []error{context.Canceled}, call: canonicalize(ctx)},
			{name: "Export", errs: []error{ErrNameNotMN}, call: func() error { return second(n.Export()) }},
			{name: "Mechs", call: func() error { return second(n.Mechs()) }},
		}
		if kind() != gss.KindGNU {
			all = append(all, action{name: "Step", call: func() error {
				i := NewInitiator(n, nil)
				defer i.Close()
				return second(i.Step(context.Background(), nil))
			}})
		}
		return all
	}
	part := 0
	for kind, name := range kinds {
		t.Run(kind, func(t *testing.T) {
			part++
			eachPair(len(actions(nil, nil, nil, nil)), part%3, 3, func(x, y int) {
				ctx, cancel := context.WithCancel(context.Background())
				n, other := name(), name()
				defer other.Close()
				var detached atomic.Int32
				a := actions(n, other, ctx, &detached)
				together(t, a[x], a[y], ErrBadName, cancel)
				wantDetached(t, a[x], a[y], detached.Load())
				if !a[x].ends && !a[y].ends && !n.Equal(other) {
					t.Errorf("%s and %s: afterwards it is %v", a[x].name, a[y].name, n)
				}
				n.Close()
				wantErr(t, "Export", second(n.Export()), ErrBadName)
			})
		})
	}
}

// One name and two credentials, for thousands of handshakes at once, until they
// are closed in the midst: what began ends well, or says what is gone.
func TestOneCredentialManyHandshakes(t *testing.T) {
	needsHandshake(t)
	kept(t)
	many := int64(2000)
	if raceBuild || asanBuild || testing.Short() {
		many = 300
	}
	host := target(t)
	mechs := []OID{MechKrb5, MechSPNEGO}
	from := acquire(t, &CredentialOptions{Mechs: mechs})
	to := acquire(t, &CredentialOptions{Mechs: mechs, Usage: Accept})
	// (The name that all acceptors tell is alice's.)
	alice := importName(t, realm.Principal("alice"), NTKrb5PrincipalName)
	defer alice.Close()

	var well, refused atomic.Int64
	half := make(chan struct{})
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for n := range many {
		wg.Go(func() {
			<-begin
			i := NewInitiator(host, &InitiatorOptions{Credential: from, Mech: mechs[n%2]})
			a := NewAcceptor(&AcceptorOptions{Credential: to})
			defer i.Close()
			defer a.Close()
			err := handshake(i, a, nil)
			switch {
			case err == nil:
				if got := a.source.String(); got != alice.String() {
					t.Errorf("the initiator is %v", got)
				}
				send(t, i, a, "hello")
				if well.Add(1) == many/2 {
					close(half)
				}
			case errors.Is(err, ErrNoCred) || errors.Is(err, ErrBadName):
				if err := err.Error(); !strings.Contains(err, "was released") {
					t.Error(err)
				}
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		<-half
		from.Close()
		host.Close()
		to.Close()
	})
	close(begin)
	wg.Wait()
	t.Logf("%d handshakes were well, %d refused", well.Load(), refused.Load())
	if well.Load()+refused.Load() != many {
		t.Errorf("of %d", many)
	}
	wantErr(t, "the next one", handshake(NewInitiator(target(t), &InitiatorOptions{Credential: from}), NewAcceptor(nil), nil), ErrNoCred)
}
