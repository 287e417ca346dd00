package gssapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed2651813c/gss"
)

// TestInterop establishes contexts between this process and one that uses the
// other library, in both roles. Both ends are served over net/rpc, that of this
// process too.
func TestInterop(t *testing.T) {
	if os.Getenv(childEnv) == t.Name() {
		in, out := os.NewFile(3, "requests"), os.NewFile(4, "answers")
		serveEnd(duplex{in, out})
		return
	}
	needsHandshake(t)
	kept(t)
	here, there := localEnd(t), startEnd(t)
	for _, roles := range []struct {
		name                string
		initiator, acceptor *end
	}{{"initiator here", here, there}, {"acceptor here", there, here}} {
		for _, mech := range []struct {
			name string
			oid  OID
		}{{"krb5", MechKrb5}, {"SPNEGO", MechSPNEGO}} {
			for _, c := range interopCases {
				t.Run(fmt.Sprintf("%s/%s/%s", roles.name, mech.name, c.name), func(t *testing.T) {
					c.run(t, roles.initiator, roles.acceptor, mech.oid)
				})
			}
		}
	}
}

type interopCase struct {
	name                string
	flags, without      Flags
	ibind, abind        string // bindings of the initiator and of the acceptor; none if empty
	require             bool   // the acceptor requires bindings
	fails               error  // the acceptor's
	failsWithoutReports error  // the acceptor's, if its library does not tell about bindings
}

var interopCases = []interopCase{
	{name: "mutual"},
	{name: "one leg", without: FlagMutual},
	{name: "no sequence", without: FlagSequence | FlagReplay},
	{name: "DCE", flags: FlagDCEStyle},
	{name: "delegation", flags: FlagDeleg},
	{name: "delegation in one leg", flags: FlagDeleg, without: FlagMutual},
	{name: "bindings", ibind: "channel", abind: "channel"},
	{name: "bindings of DCE", flags: FlagDCEStyle, ibind: "channel", abind: "channel"},
	{name: "other bindings", ibind: "channel", abind: "another channel", fails: ErrBadBindings},
	{name: "bindings of the initiator", ibind: "channel"},
	{name: "bindings of the acceptor", abind: "channel"},
	{name: "bindings required", ibind: "channel", abind: "channel", require: true, failsWithoutReports: ErrUnavailable},
	{name: "bindings required and absent", abind: "channel", require: true, fails: ErrBadBindings, failsWithoutReports: ErrUnavailable},
}

func (c interopCase) run(t *testing.T, i, a *end, mech OID) {
	defer i.close()
	defer a.close()
	i.call("New", EndOptions{Initiator: true, Mech: mech, Flags: c.flags, Without: c.without, Bindings: c.ibind}, nil)
	a.call("New", EndOptions{Bindings: c.abind, RequireBindings: c.require}, nil)
	fails := c.fails
	var reports bool // does the acceptor's library tell about bindings?
	a.call("Reports", struct{}{}, &reports)
	if c.failsWithoutReports != nil && !reports {
		fails = c.failsWithoutReports
	}
	var is, as EndStep
	for legs := 0; !is.Done || !as.Done; legs++ {
		if legs == 10 {
			t.Fatal("the handshake does not end")
		}
		if !is.Done {
			token := as.Token
			is = EndStep{}
			i.call("Step", token, &is)
			if is.Err != "" {
				t.Fatalf("initiator: %s", is.Err)
			}
		}
		if !as.Done && len(is.Token) > 0 {
			token := is.Token
			as = EndStep{}
			a.call("Step", token, &as)
			if as.Err != "" {
				if fails == nil || !as.Major.Is(fails) {
					t.Fatalf("acceptor: %s, want %v", as.Err, fails)
				}
				return
			}
		}
	}
	if fails != nil {
		t.Fatalf("accepted, want %v", fails)
	}
	var ii, ai EndInfo
	i.call("Info", struct{}{}, &ii)
	a.call("Info", struct{}{}, &ai)
	want := EndInfo{
		Initiator: "alice@" + realm.Name(), Acceptor: service + "@" + realm.Name(), Mech: MechKrb5,
		Flags: (DefaultFlags | c.flags) &^ c.without, Local: true, Keys: ii.Keys,
	}
	if diff := cmp.Diff(want, ii); diff != "" {
		t.Errorf("the initiator (- wanted, + told):\n%s", diff)
	}
	want.Local = false
	if c.flags&FlagDeleg != 0 {
		want.Delegated = want.Initiator
	}
	want.Bound = reports && c.ibind != "" && c.abind != ""
	if diff := cmp.Diff(want, ai); diff != "" {
		t.Errorf("the acceptor (- wanted, + told):\n%s", diff)
	}
	for _, key := range []PRFKey{PRFKeyFull, PRFKeyPartial} {
		for _, n := range []int{0, 1, 63, 4096} {
			var x, y []byte
			q := EndPRF{key, []byte("EXPORTER interop"), n}
			i.call("PRF", q, &x)
			a.call("PRF", q, &y)
			if !bytes.Equal(x, y) || len(x) != n {
				t.Errorf("key %d, %d bytes: %x and %x", key, n, clip(x), clip(y))
			}
		}
	}
	if c.without&FlagMutual != 0 && i.kind == gss.KindHeimdal {
		// See first.
		var m, o EndMessage
		a.call("Seal", EndMessage{Sealed: []byte("first")}, &m)
		i.call("Open", m, &o)
		if !o.Major.Is(ErrGapToken) {
			t.Errorf("the first message: %q, %s", o.Sealed, o.Err)
		}
	}
	directions := [][2]*end{{i, a}, {a, i}}
	for _, d := range directions {
		signed := EndMessage{Sealed: []byte("signed")}
		d[0].call("Sign", signed.Sealed, &signed)
		if signed.Err == "" {
			d[1].call("Verify", signed, &signed)
		}
		if signed.Err != "" {
			t.Errorf("%s verifies what %s signs: %s", d[1].kind, d[0].kind, signed.Err)
		}
	}
	for _, size := range []int{0, 1, 16, 1000, 70000, 5} {
		for _, d := range directions {
			msg := bytes.Repeat([]byte("m"), size)
			var m, o EndMessage
			d[0].call("Seal", EndMessage{msg, msg, "", 0}, &m)
			if m.Err != "" {
				t.Fatalf("%s seals %d bytes: %s", d[0].kind, size, m.Err)
			}
			d[1].call("Open", m, &o)
			if c.flags&FlagDCEStyle != 0 && d[0].kind == gss.KindHeimdal && d[1].kind == gss.KindMIT {
				// With DCE_STYLE, Heimdal 7.8 counts the filler as Windows does, and
				// MIT 1.20 knows that of messages in parts only.
				if !o.Major.Is(ErrBadSig) {
					t.Errorf("MIT opens a DCE message of Heimdal: %s", o.Err)
				}
				continue
			}
			if o.Err != "" || !bytes.Equal(o.Sealed, msg) {
				t.Fatalf("%s opens %d bytes of %s: %d bytes, %s", d[1].kind, size, d[0].kind, len(o.Sealed), o.Err)
			}
			if size != 1000 {
				continue
			}
			o = EndMessage{}
			d[1].call("Open", m, &o)
			if c.without&FlagReplay == 0 && !o.Major.Is(ErrDuplicateToken) {
				t.Errorf("%s opens a message twice: %s", d[1].kind, o.Err)
			}
			m.Sealed[len(m.Sealed)-1] ^= 1
			o = EndMessage{}
			d[1].call("Open", m, &o)
			if o.Err == "" {
				t.Errorf("%s opens a changed message", d[1].kind)
			}
		}
	}
}

// end is one end of a context, in this process or in another.
type end struct {
	t    testing.TB
	rpc  *rpc.Client
	kind gss.Kind
}

func (e *end) call(method string, args, reply any) {
	e.t.Helper()
	if reply == nil {
		reply = new(struct{})
	}
	if err := e.rpc.Call("End."+method, args, reply); err != nil {
		e.t.Fatalf("%s with %s: %v", method, e.kind, err)
	}
}

func (e *end) close() { e.call("Close", struct{}{}, nil) }

func localEnd(t *testing.T) *end {
	x, y := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		serveEnd(y)
	}()
	e := &end{t, rpc.NewClient(x), kind()}
	t.Cleanup(func() {
		e.rpc.Close()
		<-done
	})
	return e
}

// startEnd starts the process with the other library.
func startEnd(t *testing.T) *end {
	other := gss.KindMIT
	if kind() == gss.KindMIT {
		other = gss.KindHeimdal
	}
	run := child(t, []string{"GSSAPI_LIBRARY=" + string(other)})
	requests, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.Context: that ends before the process has been asked to.
	cmd := exec.Command(run.Args[0], run.Args[1:]...)
	var out bytes.Buffer
	cmd.Env, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = run.Env, []*os.File{requests, answers}, &out, &out
	err = cmd.Start()
	requests.Close()
	answers.Close()
	if err != nil {
		t.Fatal(err)
	}
	e := &end{t, rpc.NewClient(duplex{r, w}), other}
	t.Cleanup(func() {
		e.rpc.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the process with %s: %v\n%s", other, err, &out)
		}
	})
	var got string
	if err := e.rpc.Call("End.Library", struct{}{}, &got); err != nil {
		t.Skipf("%s cannot be used beside %s: %v", other, kind(), err)
	}
	if got != string(other) {
		t.Fatalf("the other process uses %s", got)
	}
	return e
}

// duplex is two pipes.
type duplex struct {
	r io.ReadCloser
	w io.WriteCloser
}

func (d duplex) Read(b []byte) (int, error)  { return d.r.Read(b) }
func (d duplex) Write(b []byte) (int, error) { return d.w.Write(b) }
func (d duplex) Close() error                { return errors.Join(d.r.Close(), d.w.Close()) }

// serveEnd serves one End until conn ends.
func serveEnd(conn io.ReadWriteCloser) {
	e := new(End)
	s := rpc.NewServer()
	if err := s.RegisterName("End", e); err != nil {
		panic(err)
	}
	s.ServeConn(conn)
	e.c.Close()
	e.c = nil
}

// End is served by net/rpc, which wants exported names.
type End struct{ c *Context }

// EndOptions are what a context is made with.
type EndOptions struct {
	Initiator       bool
	Mech            OID
	Flags, Without  Flags
	Bindings        string
	RequireBindings bool
}

// EndStep is what Step returned.
type EndStep struct {
	Token []byte
	Done  bool
	Err   string
	Major Major
}

// EndInfo is what a context tells of itself.
type EndInfo struct {
	Initiator, Acceptor, Delegated string
	Mech                           OID
	Flags                          Flags
	Local, Bound                   bool
	Keys                           string // a hash of them
}

// EndPRF is what PseudoRandom is asked for.
type EndPRF struct {
	Key  PRFKey
	Seed []byte
	N    int
}

// EndMessage is a message with its MIC: both tokens, or both messages.
type EndMessage struct {
	Sealed, MIC []byte
	Err         string
	Major       Major
}

// Library tells the kind of the library.
func (e *End) Library(_ struct{}, kind *string) error {
	l, err := gss.Library()
	*kind = string(l.Kind)
	return err
}

// Reports tells whether acceptors of the library are told of bindings.
func (e *End) Reports(_ struct{}, yes *bool) error {
	*yes = isKind(gss.KindMIT) || gss.Supports("gss_acquire_cred_from")
	return nil
}

// New begins a context.
func (e *End) New(o EndOptions, _ *struct{}) error {
	var b *ChannelBindings
	if o.Bindings != "" {
		b = &ChannelBindings{ApplicationData: []byte(o.Bindings)}
	}
	if !o.Initiator {
		e.c = NewAcceptor(&AcceptorOptions{Bindings: b, RequireBindings: o.RequireBindings})
		return nil
	}
	target, err := HostService("host", "server.test")
	if err != nil {
		return err
	}
	e.c = NewInitiator(target, &InitiatorOptions{Mech: o.Mech, Flags: o.Flags, Without: o.Without, Bindings: b})
	return nil
}

// Step is a step of the handshake.
func (e *End) Step(token []byte, s *EndStep) error {
	out, err := e.c.Step(context.Background(), token)
	s.Token, s.Done = out, e.c.Established()
	s.Err, s.Major = told(err)
	return nil
}

func told(err error) (string, Major) {
	var e *Error
	if errors.As(err, &e) {
		return err.Error(), e.Major
	}
	if err != nil {
		return err.Error(), ErrFailure
	}
	return "", 0
}

// Info describes the context. A delegated credential is used, too.
func (e *End) Info(_ struct{}, r *EndInfo) error {
	i, err := e.c.Info()
	if err != nil {
		return err
	}
	*r = EndInfo{Initiator: i.Initiator.String(), Acceptor: i.Acceptor.String(), Mech: i.Mech, Local: i.Local}
	r.Flags = i.Flags & (checkedFlags | FlagDCEStyle)
	r.Bound = i.Flags&FlagChannelBound != 0
	full, err := e.c.SessionKey()
	if err != nil {
		return err
	}
	partial, err := e.c.InitiatorSubkey()
	if err != nil {
		return err
	}
	l, err := e.c.Lucid()
	if err != nil {
		return err
	}
	r.Keys = fmt.Sprintf("%x", sha256.Sum256([]byte(show(full)+show(partial)+show(&l.Key)+show(l.AcceptorSubkey)+fmt.Sprint(l.EndTime))))
	d := e.c.Delegated()
	if d == nil {
		return nil
	}
	info, err := d.Info(context.Background())
	if err != nil {
		return err
	}
	r.Delegated = info.Name.String()
	target, err := HostService("host", "server.test")
	if err != nil {
		return err
	}
	onward := NewInitiator(target, &InitiatorOptions{Credential: d})
	defer onward.Close()
	if _, err := onward.Step(context.Background(), nil); err != nil {
		return fmt.Errorf("with the delegated credential: %w", err)
	}
	return nil
}

// PRF is PseudoRandom.
func (e *End) PRF(q EndPRF, out *[]byte) error {
	b, err := e.c.PseudoRandom(q.Key, q.Seed, q.N)
	*out = b
	return err
}

// Seal wraps a message, and makes a MIC of another if there is one.
func (e *End) Seal(in EndMessage, m *EndMessage) error {
	var err error
	m.Sealed, err = e.c.Wrap(in.Sealed)
	if err == nil && in.MIC != nil {
		m.MIC, err = e.c.AppendMIC(nil, in.MIC)
	}
	m.Err, m.Major = told(err)
	return nil
}

// Open reads what Seal made of one message.
func (e *End) Open(in EndMessage, m *EndMessage) error {
	var err error
	if m.Sealed, err = e.c.Unwrap(in.Sealed); err == nil && in.MIC != nil {
		err = e.c.VerifyMIC(m.Sealed, in.MIC)
	}
	m.Err, m.Major = told(err)
	return nil
}

// Sign makes a MIC.
func (e *End) Sign(msg []byte, m *EndMessage) error {
	var err error
	m.Sealed = msg
	m.MIC, err = e.c.AppendMIC(nil, msg)
	m.Err, m.Major = told(err)
	return nil
}

// Verify verifies it.
func (e *End) Verify(in EndMessage, m *EndMessage) error {
	m.Err, m.Major = told(e.c.VerifyMIC(in.Sealed, in.MIC))
	return nil
}

// Close ends the context, and a delegated credential with it.
func (e *End) Close(_ struct{}, _ *struct{}) error {
	if d := e.c.Delegated(); d != nil {
		d.Close()
	}
	err := e.c.Close()
	e.c = nil
	return err
}
