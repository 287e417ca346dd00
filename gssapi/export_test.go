package gssapi

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

func export(t testing.TB, c *Context) []byte {
	t.Helper()
	token, err := c.Export()
	if err != nil {
		t.Fatalf("Export of %v: %v", c, err)
	}
	if len(token) < 50 {
		t.Fatalf("Export of %v: a token of %d bytes", c, len(token))
	}
	return token
}

func importContextOf(t testing.TB, token []byte, o *ImportOptions) *Context {
	t.Helper()
	c, err := Import(token, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// transfer exports a context and imports it here.
func transfer(t testing.TB, c *Context) *Context {
	t.Helper()
	token := export(t, c)
	defer clear(token)
	return importContextOf(t, token, nil)
}

// wantGone fails the test unless every use of c is ErrNoContext.
func wantGone(t testing.TB, c *Context) {
	t.Helper()
	for what, err := range uses(c) {
		wantErr(t, what+" of "+c.String(), err, ErrNoContext)
	}
	if c.Established() {
		t.Errorf("%v says that it is established", c)
	}
	if c.Delegated() != nil {
		t.Errorf("%v has a delegated credential", c)
	}
}

func TestExport(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			exchange(t, c, peer)
			for round := range 3 { // what was imported can be exported again
				before := describe(t, c)
				token := export(t, c)
				wantGone(t, c)
				_, err := c.Export()
				wantErr(t, "a second Export", err, ErrNoContext)
				c.Close()
				wantGone(t, c)
				if c, err = Import(token, nil); err != nil {
					t.Fatalf("import %d: %v", round, err)
				}
				if diff := cmp.Diff(before, describe(t, c)); diff != "" {
					t.Errorf("import %d changed the context (- before, + after):\n%s", round, diff)
				}
				exchange(t, peer, c)
			}
			peer = transfer(t, peer)
			exchange(t, c, peer)
		})
	})
}

// description is what must survive a transfer.
type description struct {
	Initiator, Acceptor, Peer string
	Mech                      string
	Flags                     string
	Local                     bool
	Lives                     bool
}

func describe(t testing.TB, c *Context) description {
	t.Helper()
	i, err := c.Info()
	if err != nil {
		t.Fatalf("Info of %v: %v", c, err)
	}
	flags := i.Flags &^ FlagProtReady // MIT sets it for what is imported
	lives := i.Expiry.After(time.Now().Add(time.Hour)) && i.Expiry.Before(time.Now().Add(24*time.Hour))
	return description{i.Initiator.String(), i.Acceptor.String(), i.Peer().String(), i.Mech.String(), flags.String(), i.Local, lives}
}

// What was in flight when a context moved is taken by the one that took over,
// once, and both go on with the next numbers.
func TestExportKeepsSequence(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			exchange(t, c, peer)
			old := wrap(t, peer, "taken before")
			receive(t, c, old, "taken before")
			in, out := wrap(t, peer, "to the new one"), wrap(t, c, "from the old one")
			c = transfer(t, c)
			receive(t, c, in, "to the new one")
			receive(t, peer, out, "from the old one")
			for what, token := range map[string][]byte{"a message that the old one took": old, "a message taken": in} {
				_, err := c.Unwrap(token)
				wantErr(t, what, err, ErrDuplicateToken)
			}
			_, err := peer.Unwrap(out)
			wantErr(t, "a message taken by the peer", err, ErrDuplicateToken)
			exchange(t, c, peer)
			wrap(t, peer, "lost")
			_, err = c.Unwrap(wrap(t, peer, "after one that was lost"))
			wantErr(t, "a message after a lost one", err, ErrGapToken)
		})
	})
}

// partials are contexts in the midst of their tokens, and the token that the
// next Step of each takes.
func partials(t *testing.T, f func(t *testing.T, c, peer *Context, finish func())) {
	needsHandshake(t)
	for _, mech := range []struct {
		name string
		oid  OID
	}{{"krb5", MechKrb5}, {"SPNEGO", MechSPNEGO}} {
		for _, style := range []struct {
			name  string
			flags Flags
		}{{"mutual", 0}, {"DCE", FlagDCEStyle}} {
			o := &InitiatorOptions{Mech: mech.oid, Flags: style.flags}
			t.Run(mech.name+" "+style.name+" initiator", func(t *testing.T) {
				i, a := contexts(t, o, nil)
				first := step(t, i, nil)
				f(t, i, a, func() {
					if err := handshake(i, a, step(t, a, first)); err != nil {
						t.Fatal(err)
					}
				})
			})
			if style.flags == 0 {
				continue // the acceptor is done with the first token
			}
			t.Run(mech.name+" "+style.name+" acceptor", func(t *testing.T) {
				i, a := contexts(t, o, nil)
				back := step(t, a, step(t, i, nil))
				if a.is() != partial {
					t.Fatalf("%v, want a partial one", a)
				}
				f(t, a, i, func() {
					if err := handshake(i, a, back); err != nil {
						t.Fatal(err)
					}
				})
			})
		}
	}
}

func TestExportPartial(t *testing.T) {
	partials(t, func(t *testing.T, c, peer *Context, finish func()) {
		for range 2 {
			token, err := c.Export()
			wantErr(t, "Export", err, ErrUnavailable, errors.ErrUnsupported)
			if token != nil {
				t.Error("there is a token")
			}
		}
		finish()
		exchange(t, c, peer)
		exchange(t, transfer(t, c), peer)
	})
}

func TestExportWhatIsNoContext(t *testing.T) {
	junk := []byte("\x60\x0b\x06\x09" + string(MechKrb5) + "junk")
	for name, c := range map[string]*Context{
		"nil":       nil,
		"initiator": NewInitiator(nil, nil),
		"acceptor":  NewAcceptor(nil),
		"failed": func() *Context {
			c := NewAcceptor(nil)
			if _, err := c.Step(t.Context(), junk); err == nil {
				t.Fatal("junk was accepted")
			}
			return c
		}(),
		"closed": func() *Context {
			c := NewAcceptor(nil)
			c.Close()
			return c
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			token, err := c.Export()
			wantErr(t, "Export", err, ErrNoContext)
			if token != nil {
				t.Error("there is a token")
			}
			if name == "initiator" || name == "acceptor" {
				if c.is() != fresh {
					t.Errorf("%v, want a fresh one", c)
				}
			}
		})
	}
}

func TestExportFailedInitiator(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, _ := contexts(t, &InitiatorOptions{Mech: mech}, nil)
		step(t, i, nil)
		if _, err := i.Step(t.Context(), []byte("no token")); err == nil {
			t.Fatal("junk was taken for the acceptor's token")
		}
		_, err := i.Export()
		wantErr(t, "Export", err, ErrNoContext)
	})
}

func TestExportWithoutTrans(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			if c.flags&FlagTrans == 0 {
				t.Fatalf("the library did not grant it: %v", c.flags)
			}
			c.flags &^= FlagTrans
			_, err := c.Export()
			wantErr(t, "Export", err, ErrUnavailable)
			exchange(t, c, peer)
		})
	})
}

func TestExportClosed(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, _ *Context) {
			before := gss.Live()
			c.Close()
			if now := gss.Live(); now >= before {
				t.Errorf("Close released nothing: %d handles before, %d after", before, now)
			}
			wantGone(t, c)
		})
	})
}

func TestDetach(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			exchange(t, c, peer)
			h, err := c.Detach()
			if err != nil || h == nil {
				t.Fatal(h, err)
			}
			wantGone(t, c)
			// What is refused is still the caller's.
			for _, o := range []*ImportOptions{{Require: FlagAnon}, {Mech: MechNTLM}, {Peer: importName(t, "nobody", NTUserName)}} {
				none, err := Adopt(h, o)
				wantErr(t, "Adopt of what is not required", err, ErrUnauthorized)
				if none != nil {
					t.Errorf("there is %v", none)
				}
			}
			c, err = Adopt(h, &ImportOptions{Require: FlagConf | FlagMutual, Mech: MechKrb5})
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, c, peer)
			exchange(t, transfer(t, c), peer)
		})
	})
	_, err := Adopt(nil, nil)
	wantErr(t, "Adopt of nil", err, ErrNoContext)
}

// Heimdal says too early that an acceptor in DCE's style is established: it cannot
// be told from one that is.
func TestAdoptDCEStyle(t *testing.T) {
	kept(t)
	eachSide(t, &InitiatorOptions{Flags: FlagDCEStyle}, func(t *testing.T, c, peer *Context) {
		acceptor := !c.initiator
		h, err := c.Detach()
		if err != nil {
			t.Fatal(err)
		}
		c, err = Adopt(h, nil)
		if acceptor && kind() == gss.KindHeimdal {
			wantErr(t, "Adopt", err, ErrUnavailable)
			x, err := gss.AdoptCtx(h)
			if err != nil {
				t.Fatal(err)
			}
			x.Delete()
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, peer)
	})
}

// Of many Exports at once one gets the token, while messages are made.
func TestExportConcurrently(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		var tokens, wrapped, refused atomic.Int32
		var token []byte
		begin, busy := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				<-busy
				switch tok, err := i.Export(); {
				case err == nil:
					tokens.Add(1)
					token = tok
				case !errors.Is(err, ErrNoContext):
					t.Errorf("Export: %v", err)
				case tok != nil:
					t.Error("a token with an error")
				}
			})
		}
		for range 8 {
			wg.Go(func() {
				<-begin
				for {
					_, err := i.Wrap([]byte("hello"))
					switch {
					case err == nil:
						if wrapped.Add(1) == 100 {
							close(busy)
						}
						continue
					case errors.Is(err, ErrNoContext):
						refused.Add(1)
					default:
						t.Errorf("Wrap: %v", err)
					}
					return
				}
			})
		}
		for range 4 {
			wg.Go(func() {
				<-begin
				for range 50 {
					if _, err := i.Info(); err != nil && !errors.Is(err, ErrNoContext) {
						t.Errorf("Info: %v", err)
					}
				}
			})
		}
		close(begin)
		wg.Wait()
		if n := tokens.Load(); n != 1 {
			t.Fatalf("%d tokens", n)
		}
		wantGone(t, i)
		// The numbers that were used are used: the new context's first message
		// is the one after them.
		next := importContextOf(t, token, nil)
		tok := wrap(t, next, "next")
		_, err := a.Unwrap(tok)
		wantErr(t, "the message after those not delivered", err, ErrGapToken)
		t.Logf("%d messages before the export, %d refused after it", wrapped.Load(), refused.Load())
	})
}

// Expired contexts are kept, and go on protecting messages.
func TestExportExpired(t *testing.T) {
	needsHandshake(t)
	kept(t)
	// MIT's acceptors add the clock skew to the ticket's life.
	conf, err := os.ReadFile(realm.Krb5Conf())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "krb5.conf")
	conf = bytes.Replace(conf, []byte("[libdefaults]\n"), []byte("[libdefaults]\n clockskew = 1\n"), 1)
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	short, err := realm.Kinit("alice", &gsstest.KinitOptions{Lifetime: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KRB5_CONFIG", file)
	t.Setenv("KRB5CCNAME", "FILE:"+short)

	type end struct {
		name    string
		c, peer *Context
	}
	var ends []end
	imported := map[string]*Context{}
	for name, mech := range map[string]OID{"krb5": MechKrb5, "SPNEGO": MechSPNEGO} {
		for range 2 {
			i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
			ends = append(ends, end{name + " initiator", i, a}, end{name + " acceptor", a, i})
		}
		_, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		imported[name+" imported"] = transfer(t, a)
	}
	for _, e := range ends {
		awaitExpiry(t, e.c)
	}
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			token, err := e.c.Export()
			wantErr(t, "Export", err, ErrContextExpired)
			if token != nil {
				t.Error("there is a token")
			}
			info, err := e.c.Info()
			if err != nil {
				t.Fatal(err)
			}
			if info.Expiry.IsZero() || info.Expiry.After(time.Now()) {
				t.Errorf("it expires at %v", info.Expiry)
			}
			if got, want := info.Initiator.String(), realm.Principal("alice"); got != want && e.name != "krb5 initiator" && e.name != "SPNEGO initiator" {
				t.Errorf("its initiator is %v, want %v", got, want)
			}
			if info.Flags&DefaultFlags != DefaultFlags || info.Mech != MechKrb5 {
				t.Errorf("%v, %v", info.Flags, info.Mech)
			}
			exchange(t, e.c, e.peer) // kept, and as good as before
		})
	}
	for name, c := range imported {
		t.Run(name, func(t *testing.T) {
			awaitExpiry(t, c)
			_, err := c.Export()
			wantErr(t, "Export", err, ErrContextExpired)
		})
	}
	t.Run("new context", func(t *testing.T) {
		_, err := NewInitiator(target(t), nil).Step(t.Context(), nil)
		if err == nil {
			t.Fatal("a context with expired tickets")
		}
		t.Log(err)
	})
	t.Run("credential", func(t *testing.T) {
		testExpiredCredential(t)
	})
}

// awaitExpiry asks until the context has expired.
func awaitExpiry(t testing.TB, c *Context) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := c.ctx.Time(); errors.Is(err, ErrContextExpired) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v has not expired", c)
		}
	}
}

// Two contexts of one token use the same numbers.
func TestImportTwice(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			token := export(t, c)
			one, two := importContextOf(t, token, nil), importContextOf(t, token, nil)
			send(t, one, peer, "the first")
			_, err := peer.Unwrap(wrap(t, two, "the first of the other"))
			wantErr(t, "Unwrap", err, ErrDuplicateToken)
		})
	})
}

func TestImportOptions(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			name := realm.Principal("alice")
			if c.initiator {
				name = realm.Principal(service)
			}
			right, wrong := importName(t, name, NTKrb5PrincipalName), importName(t, realm.Principal("bob"), NTKrb5PrincipalName)
			token := export(t, c)
			before := settle(0)
			for _, o := range []*ImportOptions{
				{Require: FlagDeleg},
				{Require: DefaultFlags | FlagAnon},
				{Mech: MechSPNEGO},
				{Mech: MechNTLM},
				{Peer: wrong},
				{Peer: wrong, Mech: MechKrb5, Require: FlagConf},
				{Peer: right, Mech: MechKrb5, Require: FlagDeleg},
			} {
				c, err := Import(token, o)
				wantErr(t, fmt.Sprintf("Import with %+v", o), err, ErrUnauthorized)
				if c != nil {
					t.Errorf("Import with %+v: there is a context", o)
				}
			}
			if left := settle(before); left > before {
				t.Errorf("%d handles of contexts that were refused are left", left-before)
			}
			c = importContextOf(t, token, &ImportOptions{Peer: right, Mech: MechKrb5, Require: DefaultFlags | FlagTrans})
			exchange(t, c, peer)
		})
	})
}

func TestImportOrder(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		a = importContextOf(t, export(t, a), &ImportOptions{Order: AllowGap})
		wrap(t, i, "lost")
		token := wrap(t, i, "after it")
		if kind() == gss.KindMIT {
			receive(t, a, token, "after it")
			return
		}
		_, err := a.Unwrap(token)
		wantErr(t, "Unwrap", err, ErrGapToken)
	})
}

func TestImportJunk(t *testing.T) {
	if !inChild(t, nil) {
		return
	}
	kept(t)
	junk := map[string][]byte{
		"nil":         nil,
		"empty":       {},
		"a byte":      {0},
		"zeros":       make([]byte, 16),
		"ones":        bytes.Repeat([]byte{0xff}, 16),
		"text":        []byte(strings.Repeat("this is no token. ", 100)),
		"MIT head":    []byte("\x00\x00\x00\x09" + string(MechKrb5)),
		"Heimdal's":   []byte("\x00\x09" + string(MechKrb5)),
		"unknown":     []byte("\x00\x00\x00\x03\x2a\x03\x04 and more"),
		"unknown two": []byte("\x00\x03\x2a\x03\x04 and more"),
	}
	for name, token := range junk {
		c, err := Import(token, nil)
		if err == nil {
			t.Errorf("%s: imported", name)
			c.Close()
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v of type %T", name, err, err)
		}
		t.Logf("%s: %v", name, err)
	}
	for _, token := range [][]byte{nil, {}} {
		_, err := Import(token, nil)
		if kind() != gss.KindGNU {
			wantErr(t, "Import of nothing", err, ErrDefectiveToken)
		}
	}
}

// A token of one library is refused by the other.
func TestImportOfTheOtherLibrary(t *testing.T) {
	const env = "GSSAPI_TEST_TOKEN"
	if file := os.Getenv(env); file != "" { // in the other library's process
		_, a := pair(t, nil, nil)
		if err := os.WriteFile(file, export(t, a), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	needsHandshake(t)
	theirs := "heimdal"
	if kind() == gss.KindHeimdal {
		theirs = "mit"
	}
	file := filepath.Join(t.TempDir(), "token")
	out, err := child(t, []string{env + "=" + file, "GSSAPI_LIBRARY=" + theirs}).CombinedOutput()
	if err != nil {
		t.Fatalf("exporting with %s: %v\n%s", theirs, err, out)
	}
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Import(token, nil)
	wantErr(t, "Import of a token of "+theirs, err, ErrDefectiveToken)
}

// The context goes on in another process, and comes back.
func TestImportInChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		eachMech(t, func(t *testing.T, mech OID) {
			eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
				testImportInChild(t, c, peer)
			})
		})
		return
	}
	// The test's name in the child is this whole test's.
	in, out := bufio.NewReader(os.Stdin), os.NewFile(3, "out")
	c := importContextOf(t, readFrame(t, in), &ImportOptions{Require: DefaultFlags})
	for range 3 {
		msg, err := c.Unwrap(readFrame(t, in))
		if err != nil {
			t.Fatal(err)
		}
		writeFrame(t, out, wrap(t, c, "got "+string(msg)))
	}
	writeFrame(t, out, export(t, c))
	wantGone(t, c)
}

func testImportInChild(t *testing.T, c, peer *Context) {
	exchange(t, c, peer)
	cmd := child(t, nil)
	cmd.Args, cmd.Env = append(cmd.Args, "-test.run=^TestImportInChild$"), append(cmd.Env, childEnv+"=TestImportInChild")
	to, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	var log bytes.Buffer
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{pw}, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pw.Close()
	defer func() {
		to.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the other process: %v\n%s", err, &log)
		}
	}()
	from := bufio.NewReader(pr)
	inFlight := wrap(t, c, "sent before the export")
	writeFrame(t, to, export(t, c))
	receive(t, peer, inFlight, "sent before the export")
	for n := range 3 {
		writeFrame(t, to, wrap(t, peer, fmt.Sprint("message ", n)))
		receive(t, peer, readFrame(t, from), fmt.Sprint("got message ", n))
	}
	exchange(t, importContextOf(t, readFrame(t, from), nil), peer)
}

func writeFrame(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		t.Fatal(err)
	}
}

func readFrame(t testing.TB, r io.Reader) []byte {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return b
}
