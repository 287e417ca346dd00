package gssapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	. "github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/internal/fakegss"
)

const gnuPeerEnv = "GSSAPI_TEST_GNU_PEER"

// TestGNUPeer is the other end of the contexts of this file, in a process of its own.
func TestGNUPeer(t *testing.T) {
	if os.Getenv(gnuPeerEnv) == "" {
		t.Skip("this test is the child process of others: it is nothing by itself")
	}
	in, out := json.NewDecoder(os.NewFile(3, "commands")), json.NewEncoder(os.NewFile(4, "replies"))
	var c *Context
	for {
		var q gnuCommand
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		var r gnuReply
		var err error
		switch q.Op {
		case "initiate":
			var target *Name
			if target, err = HostService("host", "server.test"); err == nil {
				c = NewInitiator(target, &InitiatorOptions{Without: q.Flags, Order: AllowGap})
			}
		case "accept":
			c = NewAcceptor(nil)
		case "step":
			r.Data, err = c.Step(context.Background(), q.Data)
		case "info":
			var i *ContextInfo
			if i, err = c.Info(); err == nil {
				r.Flags, r.Peer = i.Flags, i.Peer().String()
			}
		case "wrap":
			r.Data, err = c.AppendWrap(nil, q.Data, q.Protection)
		case "unwrap":
			r.Data, r.Protection, err = c.AppendUnwrap(nil, q.Data)
		case "mic":
			r.Data, err = c.AppendMIC(nil, q.Data)
		}
		if err != nil {
			r.Err = err.Error()
		}
		r.Established = c.Established()
		if err := out.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
}

type gnuCommand struct {
	Op         string
	Data       []byte
	Protection Protection
	Flags      Flags
}

type gnuReply struct {
	Data        []byte
	Protection  Protection
	Flags       Flags
	Peer, Err   string
	Established bool
}

type gnuPeer struct {
	in  *json.Encoder
	out *json.Decoder
}

func (p *gnuPeer) ask(t *testing.T, q gnuCommand) gnuReply {
	t.Helper()
	var r gnuReply
	if err := p.in.Encode(q); err != nil {
		t.Fatal(err)
	}
	if err := p.out.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

func startGNUPeer(t *testing.T, env []string) *gnuPeer {
	if fakegss.NoLoading != "" {
		t.Skip(fakegss.NoLoading)
	}
	cr, cw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	rr, rw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestGNUPeer$", "-test.count=1", "-test.timeout=5m")
	// GSSAPI_TEST_CHILD: no realm for it. With GORACE it does not wait a second at its end.
	cmd.Env = append(append(os.Environ(), env...), gnuPeerEnv+"=1", "GSSAPI_TEST_CHILD=1", "GSSAPI_LIBRARY=mit", "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{cr, rw}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cr.Close()
	rw.Close()
	t.Cleanup(func() {
		cw.Close()
		rr.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the peer: %v\n%s", err, log.String())
		}
	})
	return &gnuPeer{json.NewEncoder(cw), json.NewDecoder(rr)}
}

// gnuOnly skips a test on other libraries, and says so.
func gnuOnly(t *testing.T) {
	t.Helper()
	l, err := gss.Library()
	if err != nil {
		if os.Getenv("GSSAPI_LIBRARY") == string(gss.KindGNU) {
			t.Fatal(err)
		}
		t.Skipf("this test is about GNU gss, and there is no library: %v", err)
	}
	if l.Kind != gss.KindGNU {
		t.Skipf("this test is about GNU gss, and the library is %v", l)
	}
}

// gnuHome keeps Shishi off the user's own directory.
func gnuHome(t *testing.T) {
	gnuOnly(t)
	home := t.TempDir()
	for _, v := range []string{"HOME", "SHISHI_HOME"} {
		t.Setenv(v, home)
	}
	for _, v := range []string{"shishi.conf", "system.conf"} {
		if err := os.WriteFile(filepath.Join(home, v), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SHISHI_CONFIG", filepath.Join(home, "system.conf"))
	t.Setenv("SHISHI_TICKETS", filepath.Join(home, "tickets"))
	t.Setenv("SHISHI_KEYS", filepath.Join(home, "keys"))
}

func gnuName(t *testing.T, s string, typ OID) *Name {
	t.Helper()
	n, err := ImportName(s, typ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// gnuError checks that err is want, and says all of texts.
func gnuError(t *testing.T, what string, err error, want Major, texts ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Major != want {
		t.Errorf("%s: %v, want %v", what, err, want)
		return
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: %q is not in %q", what, s, err)
		}
	}
}

func TestGNULibrary(t *testing.T) {
	gnuOnly(t)
	l, err := gss.Library()
	if err != nil || l.Version == "" || !strings.Contains(l.String(), "gnu "+l.Version) {
		t.Errorf("library %v, %v", l, err)
	}
	mechs, err := Mechanisms()
	if err != nil || !slices.Equal(mechs, []OID{MechKrb5}) {
		t.Errorf("mechanisms %v, %v", mechs, err)
	}
	types, err := NameTypes(MechKrb5)
	if err != nil || !slices.Contains(types, NTHostBasedService) || !slices.Contains(types, NTKrb5PrincipalName) {
		t.Errorf("name types %v, %v", types, err)
	}
	// The library would take Kerberos for any mechanism.
	_, err = NameTypes(MechSPNEGO)
	gnuError(t, "name types of SPNEGO", err, ErrBadMech, "GNU gss", MechSPNEGO.String())
	member, err := gss.TestOIDSetMember(MechKrb5, mechs)
	if err != nil || !member {
		t.Errorf("Kerberos among %v: %v, %v", mechs, member, err)
	}
	for _, f := range []string{"gss_acquire_cred_from", "gss_acquire_cred_with_password", "gss_wrap_iov"} {
		if gss.Supports(f) {
			t.Errorf("GNU gss has %s now: what this package says of it is out of date", f)
		}
	}
}

func TestGNUNames(t *testing.T) {
	gnuOnly(t)
	ctx := context.Background()
	service := gnuName(t, "host@server.test", NTHostBasedService)
	if service.String() != "host@server.test" || service.Type() != NTHostBasedService {
		t.Errorf("service is %v of type %v", service, service.Type())
	}
	mn, err := service.Canonicalize(ctx, MechKrb5)
	if err != nil || mn.String() != "host/server.test" || mn.Type() != NTKrb5PrincipalName {
		t.Fatalf("canonical service: %v, %v", mn, err)
	}
	if service.Equal(mn) || !mn.Equal(mn) || !mn.Equal(gnuName(t, "host/server.test", NTKrb5PrincipalName)) {
		t.Error("Equal is wrong")
	}
	if mechs, err := service.Mechs(); err != nil || !slices.Equal(mechs, []OID{MechKrb5}) {
		t.Errorf("mechanisms of the name: %v, %v", mechs, err)
	}

	// There and back. The library itself cannot: see gnuImport and gnuExport in the package below.
	_, err = service.Export()
	gnuError(t, "export of a service", err, ErrNameNotMN)
	token, err := mn.Export()
	want := "\x04\x01\x00\x0b\x06\x09" + string(MechKrb5) + "\x00\x00\x00\x10host/server.test"
	if err != nil || string(token) != want {
		t.Errorf("exported %q, %v, want %q", token, err, want)
	}
	again := gnuName(t, string(token), NTExportName)
	if !again.Equal(mn) || again.String() != mn.String() {
		t.Errorf("%v became %v", mn, again)
	}
	if twice, err := again.Export(); err != nil || !bytes.Equal(twice, token) {
		t.Errorf("exported again %q, %v", twice, err)
	}
	for _, bad := range []string{"", "a", want[:len(want)-1], want + "x", strings.Replace(want, "host", "ho\x00t", 1), "\x04\x01\x00\x02\x06\x05\x00\x00\x00\x00", "\x04\x01\xff\xff"} {
		_, err := ImportName(bad, NTExportName)
		gnuError(t, fmt.Sprintf("import of %q", bad), err, ErrBadName)
	}
	_, err = ImportName("\x04\x01\x00\x08\x06\x06"+string(MechSPNEGO)+"\x00\x00\x00\x01x", NTExportName)
	gnuError(t, "import of a name of SPNEGO", err, ErrBadMech)

	for _, typ := range []OID{"", NTUserName, NTStringUID, NTAnonymous, NTKrb5EnterpriseName} {
		text := "carol"
		if typ == NTStringUID {
			text = "1000"
		}
		n := gnuName(t, text, typ)
		_, err := n.Canonicalize(ctx, MechKrb5)
		gnuError(t, "canonicalize "+typ.String(), err, ErrBadNameType)
		_, err = n.Export()
		gnuError(t, "export "+typ.String(), err, ErrNameNotMN)
		_, err = NewInitiator(n, nil).Step(ctx, nil)
		gnuError(t, "initiate to "+typ.String(), err, ErrBadNameType)
	}
	_, err = mn.Canonicalize(ctx, MechSPNEGO)
	gnuError(t, "canonicalize for SPNEGO", err, ErrBadMech, "GNU gss")
}

// A service without a host crashes gss_init_sec_context, and gss_acquire_cred
// releases it, so that it is released twice.
func TestGNUServiceWithoutHost(t *testing.T) {
	gnuHome(t)
	ctx := context.Background()
	for range 10 {
		n := gnuName(t, "host", NTHostBasedService)
		_, err := n.Canonicalize(ctx, MechKrb5)
		gnuError(t, "canonicalize", err, ErrBadName, "No @ in SERVICE-NAME")
		_, err = NewInitiator(n, nil).Step(ctx, nil)
		gnuError(t, "initiate", err, ErrBadName, "No @ in SERVICE-NAME")
		_, err = Acquire(ctx, &CredentialOptions{Name: n, Usage: Accept})
		gnuError(t, "acquire", err, ErrBadName, "No @ in SERVICE-NAME")
		if n.String() != "host" {
			t.Errorf("the name is now %v", n)
		}
		n.Close()
	}
}

// The library keeps the pointer to the type that gss_import_name gets.
func TestGNUNameTypesLive(t *testing.T) {
	gnuOnly(t)
	const each = 200
	var names []*Name
	for range each {
		// A type that nobody else holds, made at run time.
		typ, err := ParseOID("1.3.6.1.4.1.311." + strconv.Itoa(len(names)))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, gnuName(t, "carol", typ))
	}
	for range 3 {
		runtime.GC()
		var waste [][]byte
		for i := range 2000 {
			waste = append(waste, bytes.Repeat([]byte{0xaa}, 16+i%64))
		}
		runtime.KeepAlive(waste)
	}
	for i, n := range names {
		typ, _ := ParseOID("1.3.6.1.4.1.311." + strconv.Itoa(i))
		if n.String() != "carol" || n.Type() != typ {
			t.Fatalf("name %d is %v of type %v, want %v", i, n, n.Type(), typ)
		}
	}
}

func TestGNUCredentials(t *testing.T) {
	gnuHome(t)
	ctx := context.Background()
	carol := gnuName(t, "carol@TEST.GSS", NTKrb5PrincipalName)
	service := gnuName(t, "host@server.test", NTHostBasedService)
	for _, c := range []struct {
		what  string
		o     *CredentialOptions
		want  Major
		texts []string
	}{
		{"the default", nil, ErrUnavailable, []string{"GNU gss", "default tickets"}},
		{"to initiate", &CredentialOptions{Name: carol}, ErrUnavailable, []string{"GNU gss", "default tickets"}},
		{"both", &CredentialOptions{Name: carol, Usage: Both}, ErrUnavailable, []string{"GNU gss"}},
		{"any service", &CredentialOptions{Usage: Accept}, ErrUnavailable, []string{"GNU gss", "any service"}},
		{"a password", &CredentialOptions{Name: carol, Password: "secret"}, ErrUnavailable, []string{"gss_acquire_cred_with_password"}},
		{"a store", &CredentialOptions{Name: carol, Store: map[string]string{"ccache": "FILE:/nonexistent"}}, ErrUnavailable, []string{"gss_acquire_cred_from"}},
		{"SPNEGO", &CredentialOptions{Name: service, Usage: Accept, Mechs: []OID{MechSPNEGO}}, ErrBadMech, []string{"GNU gss"}},
		{"no key", &CredentialOptions{Name: service, Usage: Accept}, ErrNoCred, []string{"No principal in keytab"}},
	} {
		_, err := Acquire(ctx, c.o)
		gnuError(t, c.what, err, c.want, c.texts...)
		if errors.Is(err, ErrUnavailable) != errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v: is not errors.ErrUnsupported, or is", c.what, err)
		}
	}
	_, err := (*gss.Cred)(nil).Inquire()
	gnuError(t, "the default's inquiry", err, ErrUnavailable, "GNU gss")
	_, err = (*gss.Cred)(nil).Add(nil, MechKrb5, gss.UsageAccept, 0, 0)
	gnuError(t, "add", err, ErrUnavailable, "GNU gss", "gss_add_cred")
	_, err = NewInitiator(service, nil).Step(ctx, nil)
	gnuError(t, "no ticket", err, ErrNoCred, "Principal in credential cache")
}

func TestGNUWithoutContext(t *testing.T) {
	gnuHome(t)
	ctx := context.Background()
	_, err := Import([]byte("anything"), nil)
	gnuError(t, "import", err, ErrUnavailable, "GNU gss", "gss_import_sec_context")

	krb5 := "\x06\x09" + string(MechKrb5)
	for _, junk := range []string{
		"\x00", "junk", "\x60", "\x60\x80", "\x60\x84\xff\xff\xff\xff", "\x60\x02\x06\x7f", "\x60\x0b" + krb5, "\x60\x0d" + krb5 + "\x01\x00",
		"\x60\x11" + krb5 + "\x01\x00\x6e\x82\xff\xff", "\x60\x08\x06\x06" + string(MechSPNEGO), strings.Repeat("\x60\x82", 500),
	} {
		c := NewAcceptor(nil)
		out, err := c.Step(ctx, []byte(junk))
		if err == nil || len(out) > 0 || c.Established() {
			t.Errorf("accept of %q: %q, %v", junk, out, err)
		}
	}
	_, err = NewAcceptor(nil).Step(ctx, []byte("\x60\x0d"+krb5+"\x01\x00"))
	gnuError(t, "accept without a credential", err, ErrNoCred, "GNU gss", "credential")

	target := gnuName(t, "host@server.test", NTHostBasedService)
	_, err = NewInitiator(target, &InitiatorOptions{Mech: MechSPNEGO}).Step(ctx, nil)
	gnuError(t, "SPNEGO", err, ErrBadMech, "GNU gss")
	_, err = NewAcceptor(&AcceptorOptions{Bindings: &ChannelBindings{ApplicationData: []byte("x")}, RequireBindings: true}).Step(ctx, []byte("\x60\x0d"+krb5+"\x01\x00"))
	gnuError(t, "bindings required", err, ErrUnavailable, "gnu")
}

// gnuRealm is a realm that Shishi can use, and this process with it, as carol and
// host/server.test.
func gnuRealm(t *testing.T, enctype string) *gsstest.Realm {
	gnuOnly(t)
	if err := gsstest.ShishiAvailable(); err != nil {
		t.Skipf("a handshake of GNU gss needs Shishi's programs: %v", err)
	}
	l, err := net.Listen("tcp", "127.88.0.1:88")
	if err != nil {
		t.Skipf("Shishi finds a KDC at port 88 only, which this user may not have: %v", err)
	}
	l.Close()
	r := gsstest.New(t, &gsstest.Options{
		Port:       88,
		Enctypes:   []string{enctype},
		Passwords:  map[string]string{"carol": "pass word"},
		Principals: []string{"alice", "host/server.test"},
	})
	env, err := r.Shishi(&gsstest.ShishiOptions{Principal: "carol", Password: "pass word", Services: []string{"host/server.test"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		t.Setenv(k, v)
	}
	return r
}

const (
	gnuAES  = "aes256-cts-hmac-sha1-96"
	gnuDES3 = "des3-cbc-sha1"
)

// gnuInitiate makes a context of GNU gss with an acceptor of MIT; err is that of
// the last Step.
func gnuInitiate(t *testing.T, r *gsstest.Realm, o *InitiatorOptions) (*Context, *gnuPeer, error) {
	t.Helper()
	keytab, err := r.Keytab("host/server.test")
	if err != nil {
		t.Fatal(err)
	}
	p := startGNUPeer(t, r.EnvFor("", keytab))
	p.ask(t, gnuCommand{Op: "accept"})
	c := NewInitiator(gnuName(t, "host@server.test", NTHostBasedService), o)
	token, err := c.Step(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	q := p.ask(t, gnuCommand{Op: "step", Data: token})
	if q.Err != "" || !q.Established {
		t.Fatalf("the acceptor: %s", q.Err)
	}
	if len(q.Data) > 0 {
		_, err = c.Step(context.Background(), q.Data)
	}
	return c, p, err
}

// gnuAccept makes a context of an initiator of MIT with GNU gss. Its credential is
// closed.
func gnuAccept(t *testing.T, r *gsstest.Realm, without Flags) (*Context, *gnuPeer) {
	t.Helper()
	ctx := context.Background()
	ccache, err := r.Kinit("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := startGNUPeer(t, r.EnvFor(ccache, ""))
	p.ask(t, gnuCommand{Op: "initiate", Flags: without})
	cred, err := Acquire(ctx, &CredentialOptions{Name: gnuName(t, "host@server.test", NTHostBasedService), Usage: Accept})
	if err != nil {
		t.Fatal(err)
	}
	i, err := cred.Info(ctx)
	if err != nil || i.Name.String() != "host/server.test" || i.Usage != Accept || !slices.Equal(i.Mechs, []OID{MechKrb5}) {
		t.Errorf("the credential: %+v, %v", i, err)
	}
	c := NewAcceptor(&AcceptorOptions{Credential: cred})
	q := p.ask(t, gnuCommand{Op: "step"})
	token, err := c.Step(ctx, q.Data)
	if err != nil || !c.Established() {
		t.Fatalf("accept: %v", err)
	}
	// The context uses the credential's memory: it must outlive its owner.
	if err := cred.Close(); err != nil {
		t.Error(err)
	}
	if mutual := without&FlagMutual == 0; mutual != (len(token) > 0) {
		t.Errorf("a token of %d bytes", len(token))
	} else if mutual {
		if q = p.ask(t, gnuCommand{Op: "step", Data: token}); q.Err != "" || !q.Established {
			t.Fatalf("the initiator: %s", q.Err)
		}
	}
	return c, p
}

// gnuRefuses checks what GNU gss cannot do with an established context, and that
// the context is none the worse for it.
func gnuRefuses(t *testing.T, c *Context) {
	t.Helper()
	before, err := c.Info()
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Wrap([]byte("secret"))
	gnuError(t, "Wrap", err, ErrUnavailable, "GNU gss", "cannot encrypt")
	dst, err := c.AppendWrap([]byte("dst"), []byte("secret"), Private)
	gnuError(t, "AppendWrap", err, ErrUnavailable, "GNU gss", "cannot encrypt")
	if token != nil || string(dst) != "dst" {
		t.Errorf("Wrap returned %q and %q with an error", token, dst)
	}
	dst, err = c.AppendMIC([]byte("dst"), []byte("message"))
	gnuError(t, "AppendMIC", err, ErrUnavailable, "GNU gss", "gss_get_mic")
	if string(dst) != "dst" {
		t.Errorf("AppendMIC returned %q with an error", dst)
	}
	gnuError(t, "VerifyMIC", c.VerifyMIC([]byte("message"), []byte("mic")), ErrUnavailable, "GNU gss", "gss_verify_mic")
	_, err = c.MaxMessage(1000, Integrity)
	gnuError(t, "MaxMessage", err, ErrUnavailable, "GNU gss", "gss_wrap_size_limit")
	gnuError(t, "ProcessToken", c.ProcessToken([]byte("token")), ErrUnavailable, "GNU gss", "gss_process_context_token")
	token, err = c.Export()
	gnuError(t, "Export", err, ErrUnavailable, "GNU gss", "export")
	if token != nil {
		t.Errorf("Export returned %d bytes with an error", len(token))
	}
	_, err = c.PseudoRandom(PRFKeyFull, []byte("seed"), 16)
	gnuError(t, "PseudoRandom", err, ErrUnavailable, "no function gss_pseudo_random")
	_, err = c.InquireByOID(MechKrb5)
	gnuError(t, "InquireByOID", err, ErrUnavailable, "no function gss_inquire_sec_context_by_oid")
	_, err = c.SessionKey()
	gnuError(t, "SessionKey", err, ErrUnavailable, "no function gss_inquire_sec_context_by_oid")
	gnuError(t, "SetOption", c.SetOption(MechKrb5, []byte{1}), ErrUnavailable, "no function gss_set_sec_context_option")
	_, err = c.TicketFlags()
	gnuError(t, "TicketFlags", err, ErrUnavailable, "no function gss_krb5_get_tkt_flags")
	_, err = c.AuthTime()
	gnuError(t, "AuthTime", err, ErrUnavailable, "no function gsskrb5_extract_authtime_from_sec_context")
	_, err = c.PAC()
	gnuError(t, "PAC", err, ErrUnavailable, "no function gsskrb5_extract_authz_data_from_sec_context")
	_, err = c.Lucid()
	gnuError(t, "Lucid", err, ErrUnavailable, "no function gss_krb5_export_lucid_sec_context")
	_, err = c.InitiatorSubkey()
	gnuError(t, "InitiatorSubkey", err, ErrUnavailable, "no function gsskrb5_get_initiator_subkey")
	if !c.Established() {
		t.Error("the context is not established any more")
	}
	if c.Delegated() != nil {
		t.Error("a delegated credential")
	}
	after, err := c.Info()
	if err != nil || after.Flags != before.Flags || after.Expiry.Sub(before.Expiry).Abs() > time.Minute {
		t.Errorf("Info was %+v, is %+v, %v", before, after, err)
	}
}

func TestGNUInitiator(t *testing.T) {
	for _, enctype := range []string{gnuAES, gnuDES3} {
		t.Run(enctype, func(t *testing.T) {
			r := gnuRealm(t, enctype)

			// It grants all that it is asked for but delegation; confidentiality it cannot keep.
			c, _, err := gnuInitiate(t, r, nil)
			gnuError(t, "all of the default flags", err, ErrUnauthorized, "conf required and not granted (granted: mutual,replay,sequence,integ", "Without")
			if c.Established() {
				t.Error("established nevertheless")
			}
			_, _, err = gnuInitiate(t, r, &InitiatorOptions{Flags: FlagDeleg})
			gnuError(t, "delegation", err, ErrUnauthorized, "deleg,conf required and not granted")

			c, p, err := gnuInitiate(t, r, &InitiatorOptions{Without: FlagConf})
			if err != nil || !c.Established() {
				t.Fatal(err)
			}
			i, err := c.Info()
			if err != nil {
				t.Fatal(err)
			}
			granted := FlagMutual | FlagReplay | FlagSequence | FlagInteg
			if i.Flags != granted|FlagProtReady || i.Mech != MechKrb5 || !i.Local || i.Peer().String() != "host@server.test" {
				t.Errorf("Info is %+v", i)
			}
			// Shishi asks for 8 hours if it is not told, the realm gives 10.
			if left := time.Until(i.Expiry); left < 7*time.Hour || left > 10*time.Hour {
				t.Errorf("it expires in %v", left)
			}
			if q := p.ask(t, gnuCommand{Op: "info"}); q.Peer != "carol@TEST.GSS" || q.Flags&^(FlagProtReady|FlagTrans) != granted {
				t.Errorf("the acceptor sees %s with %v", q.Peer, q.Flags)
			}
			gnuRefuses(t, c)
			gnuMessages(t, c, p, enctype == gnuDES3, true)
			if err := c.Close(); err != nil {
				t.Error(err)
			}

			c, p, err = gnuInitiate(t, r, &InitiatorOptions{Without: FlagConf | FlagMutual})
			if err != nil || !c.Established() {
				t.Fatal(err)
			}
			if q := p.ask(t, gnuCommand{Op: "info"}); q.Peer != "carol@TEST.GSS" {
				t.Errorf("without mutual authentication the acceptor sees %s", q.Peer)
			}
			gnuRefuses(t, c)

			_, err = NewInitiator(gnuName(t, "nosuch@server.test", NTHostBasedService), nil).Step(context.Background(), nil)
			gnuError(t, "an unknown service", err, ErrNoCred)
			cred, err := Acquire(context.Background(), &CredentialOptions{Name: gnuName(t, "host@server.test", NTHostBasedService), Usage: Accept})
			if err != nil {
				t.Fatal(err)
			}
			_, err = NewInitiator(gnuName(t, "host@server.test", NTHostBasedService), &InitiatorOptions{Credential: cred}).Step(context.Background(), nil)
			gnuError(t, "a credential to initiate with", err, ErrUnavailable, "GNU gss", "default tickets")
			_, err = cred.Add(context.Background(), &CredentialOptions{Mechs: []OID{MechKrb5}, Usage: Accept})
			gnuError(t, "Add", err, ErrUnavailable, "GNU gss", "gss_add_cred")
		})
	}
}

// gnuMessages exchanges messages: none under AES keys, signed ones under DES3
// keys.
func gnuMessages(t *testing.T, c *Context, p *gnuPeer, des3, conf bool) {
	t.Helper()
	for n := range 3 {
		msg := fmt.Sprintf("message %d", n)
		token, err := c.AppendWrap(nil, []byte(msg), Integrity)
		if !des3 {
			gnuError(t, "wrap under AES", err, ErrUnavailable, "GNU gss", "AES")
		} else if err != nil || !strings.Contains(string(token), msg) {
			t.Errorf("wrap: %q, %v", token, err)
		} else if q := p.ask(t, gnuCommand{Op: "unwrap", Data: token}); q.Err != "" || string(q.Data) != msg || q.Protection != Integrity {
			t.Errorf("the peer unwraps %q, %v, %s", q.Data, q.Protection, q.Err)
		}
		q := p.ask(t, gnuCommand{Op: "wrap", Data: []byte(msg), Protection: Integrity})
		if q.Err != "" {
			t.Fatalf("the peer cannot wrap: %s", q.Err)
		}
		sent := bytes.Clone(q.Data)
		got, protection, err := c.AppendUnwrap(nil, q.Data)
		if !des3 {
			gnuError(t, "unwrap under AES", err, ErrUnavailable, "GNU gss", "AES")
			continue
		}
		// The library says that it was encrypted.
		if err != nil || string(got) != msg || protection != Integrity {
			t.Errorf("unwrap: %q, %v, %v", got, protection, err)
		}
		got, _, err = c.AppendUnwrap(nil, sent)
		gnuError(t, "unwrap of a replay", err, ErrBadSig)
		if len(got) > 0 {
			t.Errorf("a replay unwraps to %q", got)
		}
	}
	for _, junk := range []string{"", "junk", "\x60\x0d\x06\x09" + string(MechKrb5) + "\x02\x01", "\x05"} {
		if out, _, err := c.AppendUnwrap(nil, []byte(junk)); err == nil || len(out) > 0 {
			t.Errorf("unwrap of %q: %q, %v", junk, out, err)
		}
	}
	if conf {
		return
	}
	q := p.ask(t, gnuCommand{Op: "wrap", Data: []byte("secret"), Protection: Private})
	if q.Err != "" {
		t.Fatalf("the peer cannot encrypt: %s", q.Err)
	}
	_, err := c.Unwrap(q.Data)
	gnuError(t, "unwrap of an encrypted message", err, ErrUnavailable, "GNU gss")
}

func TestGNUAcceptor(t *testing.T) {
	for _, enctype := range []string{gnuAES, gnuDES3} {
		t.Run(enctype, func(t *testing.T) {
			r := gnuRealm(t, enctype)
			for _, without := range []Flags{0, FlagMutual} {
				c, p := gnuAccept(t, r, without)
				for range 3 { // what is unreachable now would be released under the context
					runtime.GC()
				}
				i, err := c.Info()
				if err != nil {
					t.Fatal(err)
				}
				// It tells neither the initiator's flags nor realm, nor when the ticket ends.
				if want := FlagMutual&^without | FlagProtReady; i.Flags != want || i.Local || i.Mech != MechKrb5 || i.Peer().String() != "alice" || !i.Expiry.IsZero() {
					t.Errorf("Info is %+v", i)
				}
				if q := p.ask(t, gnuCommand{Op: "info"}); q.Peer != "host/server.test@TEST.GSS" {
					t.Errorf("the initiator sees %s with %v", q.Peer, q.Flags)
				}
				gnuRefuses(t, c)
				if without == 0 {
					gnuMessages(t, c, p, enctype == gnuDES3, false)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}

			ccache, err := r.Kinit("alice", nil)
			if err != nil {
				t.Fatal(err)
			}
			cred, err := Acquire(context.Background(), &CredentialOptions{Name: gnuName(t, "host@server.test", NTHostBasedService), Usage: Accept})
			if err != nil {
				t.Fatal(err)
			}
			p := startGNUPeer(t, r.EnvFor(ccache, ""))
			first := func() []byte {
				p.ask(t, gnuCommand{Op: "initiate"})
				return p.ask(t, gnuCommand{Op: "step"}).Data
			}
			c := NewAcceptor(&AcceptorOptions{Credential: cred, Require: FlagInteg})
			_, err = c.Step(context.Background(), first())
			gnuError(t, "integrity required", err, ErrUnauthorized, "integ required and not granted (granted: mutual")
			token := first()
			for range 2 {
				if _, err := NewAcceptor(&AcceptorOptions{Credential: cred}).Step(context.Background(), token); err != nil {
					t.Errorf("a replay is refused (%v): what is said of GNU gss at NewAcceptor is out of date", err)
				}
			}
			_, err = NewAcceptor(&AcceptorOptions{Credential: cred, Bindings: &ChannelBindings{ApplicationData: []byte("x")}}).Step(context.Background(), token)
			gnuError(t, "bindings that the initiator did not send", err, ErrFailure)
			for _, at := range []int{200, -1} { // in the ticket and in the authenticator; Shishi does not mind all that stands before
				token := first()
				token[(at+len(token))%len(token)] ^= 0x55
				c := NewAcceptor(&AcceptorOptions{Credential: cred})
				if out, err := c.Step(context.Background(), token); err == nil || c.Established() {
					t.Errorf("with byte %d changed it is accepted: %q", at, out)
				}
			}
		})
	}
}

// Contexts of one credential share a handle of Shishi that is for one thread.
func TestGNUConcurrency(t *testing.T) {
	r := gnuRealm(t, gnuDES3)
	ctx := context.Background()
	service := gnuName(t, "host@server.test", NTHostBasedService)
	cred, err := Acquire(ctx, &CredentialOptions{Name: service, Usage: Accept})
	if err != nil {
		t.Fatal(err)
	}
	ccache, err := r.Kinit("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := startGNUPeer(t, r.EnvFor(ccache, ""))
	var wg sync.WaitGroup
	for range 8 {
		p.ask(t, gnuCommand{Op: "initiate"})
		token := p.ask(t, gnuCommand{Op: "step"}).Data
		wg.Go(func() {
			c := NewAcceptor(&AcceptorOptions{Credential: cred})
			if _, err := c.Step(ctx, token); err != nil {
				t.Error(err)
				return
			}
			for range 20 {
				if _, err := c.AppendWrap(nil, []byte("message"), Integrity); err != nil {
					t.Error(err)
				}
			}
			c.Close()
		})
		wg.Go(func() {
			// To its own peer, within GNU gss: both ends in one process.
			i := NewInitiator(service, &InitiatorOptions{Without: FlagConf})
			token, err := i.Step(ctx, nil)
			if err != nil {
				t.Error(err)
				return
			}
			a := NewAcceptor(&AcceptorOptions{Credential: cred})
			if token, err = a.Step(ctx, token); err != nil {
				t.Error(err)
				return
			}
			if _, err := i.Step(ctx, token); err != nil {
				t.Error(err)
				return
			}
			token, err = i.AppendWrap(nil, []byte("message"), Integrity)
			if err != nil {
				t.Error(err)
			}
			if msg, err := a.Unwrap(token); err != nil || string(msg) != "message" {
				t.Errorf("%q, %v", msg, err)
			}
			i.Close() // writes the tickets that others are about to read
		})
	}
	wg.Wait()

	// C may release what it is given: not while a context uses it.
	lent, err := Acquire(ctx, &CredentialOptions{Name: service, Usage: Accept})
	if err != nil {
		t.Fatal(err)
	}
	p.ask(t, gnuCommand{Op: "initiate"})
	a := NewAcceptor(&AcceptorOptions{Credential: lent})
	if _, err := a.Step(ctx, p.ask(t, gnuCommand{Op: "step"}).Data); err != nil {
		t.Fatal(err)
	}
	_, err = lent.Detach()
	gnuError(t, "Detach of a credential that a context uses", err, ErrNoCred, "until it is deleted")
	if _, err := lent.Info(ctx); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	a.Close()
	h, err := lent.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if lent, err = AdoptCredential(h); err != nil {
		t.Fatal(err)
	}
	lent.Close()
}
