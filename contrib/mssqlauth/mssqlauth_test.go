package mssqlauth

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/microsoft/go-mssqldb/integratedauth"
	"github.com/microsoft/go-mssqldb/msdsn"

	_ "github.com/microsoft/go-mssqldb"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

const (
	alice = "alice@TEST.GSS"
	spn   = "MSSQLSvc/server.test:1433"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	var realm *gsstest.Realm
	if err == nil {
		realm, err = gsstest.Start(&gsstest.Options{Principals: []string{"alice", spn, "MSSQLSvc/other.test:1433"}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer realm.Close()
	ccache, err := realm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	keytab, e := realm.Keytab(spn)
	if err = errors.Join(err, e, Register("gss", nil), Register("delegating", &Options{Delegate: true})); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, kv := range append(realm.EnvFor(ccache, keytab), "KRB5RCACHENAME=none:", "HOME="+realm.Dir()) {
		k, v, _ := strings.Cut(kv, "=")
		os.Setenv(k, v)
	}
	return m.Run()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// login authenticates against an acceptor, as go-mssqldb does against SQL Server.
func login(t *testing.T, o *Options, config msdsn.Config, b *integratedauth.ChannelBindings, acceptor *gssapi.Context) error {
	t.Helper()
	a, err := NewProvider(o).GetIntegratedAuthenticator(config)
	if err != nil {
		return err
	}
	defer a.Free()
	if b != nil {
		a.(integratedauth.AuthenticatorWithEPA).SetChannelBinding(b)
	}
	token, err := a.InitialBytes()
	for range 5 {
		if err != nil {
			return err
		}
		if len(token) == 0 {
			return nil
		}
		answer, err := acceptor.Step(t.Context(), token)
		if err != nil {
			return err
		}
		if len(answer) == 0 {
			return nil
		}
		if token, err = a.NextBytes(answer); err != nil {
			return err
		}
	}
	t.Fatal("there is no end")
	return nil
}

func TestLogin(t *testing.T) {
	bindings := &integratedauth.ChannelBindings{Type: integratedauth.ChannelBindingsTypeTLSUnique, ApplicationData: []byte("tls-unique:x")}
	for what, test := range map[string]struct {
		o    *Options
		spn  string
		b    *integratedauth.ChannelBindings
		want *gssapi.ChannelBindings
		text string // of the error
	}{
		"plain":             {},
		"with the realm":    {spn: spn + "@TEST.GSS"},
		"Kerberos":          {o: &Options{Mech: gssapi.MechKrb5}},
		"delegation":        {o: &Options{Delegate: true}},
		"bindings":          {b: bindings, want: &gssapi.ChannelBindings{ApplicationData: []byte("tls-unique:x")}},
		"no bindings":       {b: integratedauth.EmptyChannelBindings},
		"other bindings":    {b: bindings, want: &gssapi.ChannelBindings{ApplicationData: []byte("tls-unique:y")}, text: "channel bindings"},
		"another service":   {spn: "MSSQLSvc/other.test:1433", text: ""},
		"an unknown one":    {spn: "MSSQLSvc/server.test:1", text: "MSSQLSvc/server.test:1"},
		"no name":           {spn: "-", text: "set ServerSPN"},
		"a name that lacks": {spn: "@", text: ""},
	} {
		t.Run(what, func(t *testing.T) {
			config := msdsn.Config{ServerSPN: spn}
			switch test.spn {
			case "":
			case "-":
				config.ServerSPN = ""
			default:
				config.ServerSPN = test.spn
			}
			s := gssapi.NewAcceptor(&gssapi.AcceptorOptions{Bindings: test.want})
			defer s.Close()
			err := login(t, test.o, config, test.b, s)
			refused := test.text != "" || what == "another service" || what == "a name that lacks"
			if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Fatalf("%v, without %q", err, test.text)
			}
			if refused {
				return
			}
			i, err := s.Info()
			check(t, err)
			if i.Peer().String() != alice || (s.Delegated() != nil) != (what == "delegation") {
				t.Errorf("%v, delegated %v", i.Peer(), s.Delegated())
			}
		})
	}
	if _, err := NewProvider(nil).GetIntegratedAuthenticator(msdsn.Config{ServerSPN: spn, User: "sa"}); err == nil || !strings.Contains(err.Error(), "leave user and password out") {
		t.Error(err)
	}
	a, err := NewProvider(nil).GetIntegratedAuthenticator(msdsn.Config{ServerSPN: spn})
	check(t, err)
	if _, err := a.NextBytes([]byte("x")); !errors.Is(err, gssapi.ErrNoContext) {
		t.Error(err)
	}
	a.Free()
	a.Free()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := gssapi.NewAcceptor(nil)
	if err := login(t, &Options{Context: ctx}, msdsn.Config{ServerSPN: spn}, nil, s); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// ---- through go-mssqldb ----

// A server that knows no more of TDS than a login takes ([MS-TDS], 2.2).
func tds(conn net.Conn, seen chan<- string) error {
	defer conn.Close()
	const prelogin, loginOf7, sspi, response = 0x12, 0x10, 0x11, 0x04
	read := func(want byte) (msg []byte, err error) {
		for {
			var h [8]byte
			if _, err := io.ReadFull(conn, h[:]); err != nil {
				return nil, err
			}
			if h[0] != want {
				return nil, fmt.Errorf("a message of type %#x", h[0])
			}
			b := make([]byte, binary.BigEndian.Uint16(h[2:])-8)
			if _, err := io.ReadFull(conn, b); err != nil {
				return nil, err
			}
			if msg = append(msg, b...); h[1]&1 != 0 {
				return msg, nil
			}
		}
	}
	write := func(msg []byte) error {
		h := []byte{response, 1, 0, 0, 0, 0, 1, 0}
		binary.BigEndian.PutUint16(h[2:], uint16(8+len(msg)))
		_, err := conn.Write(append(h, msg...))
		return err
	}
	if _, err := read(prelogin); err != nil {
		return err
	}
	// A version, and no encryption.
	if err := write([]byte{0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 2}); err != nil {
		return err
	}
	msg, err := read(loginOf7)
	if err != nil {
		return err
	}
	at, n := binary.LittleEndian.Uint16(msg[78:]), binary.LittleEndian.Uint16(msg[80:])
	token := msg[at:][:n]
	c := gssapi.NewAcceptor(nil)
	defer c.Close()
	for {
		b, err := c.Step(context.Background(), token)
		if err != nil {
			return err
		}
		if len(b) > 0 {
			if err := write(append(binary.LittleEndian.AppendUint16([]byte{0xed}, uint16(len(b))), b...)); err != nil {
				return err
			}
		}
		if c.Established() {
			break
		}
		if token, err = read(sspi); err != nil {
			return err
		}
	}
	i, err := c.Info()
	if err != nil {
		return err
	}
	seen <- fmt.Sprint(i.Peer(), " ", c.Delegated() != nil)
	loggedIn := []byte{0xad, 12, 0, 1, 0x74, 0, 0, 4, 1, 'x', 0, 16, 0, 0, 0}
	return write(append(loggedIn, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
}

func TestDriver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	seen, failed := make(chan string, 10), make(chan error, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { failed <- tds(conn, seen) }()
		}
	}()
	for _, test := range []struct{ authenticator, spn, want string }{
		{"gss", spn, alice + " false"},
		{"delegating", spn, alice + " true"},
		{"gss", "MSSQLSvc/nowhere.test:1", "MSSQLSvc/nowhere.test:1"},
	} {
		db, err := sql.Open("sqlserver", fmt.Sprintf("sqlserver://%s?encrypt=disable&authenticator=%s&ServerSPN=%s", l.Addr(), test.authenticator, test.spn))
		check(t, err)
		conn, err := db.Conn(t.Context())
		switch {
		case test.spn != spn:
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, without %q", err, test.want)
			}
		case err != nil:
			t.Errorf("%v; the server: %v", err, <-failed)
		default:
			if who := <-seen; who != test.want {
				t.Errorf("%q, want %q", who, test.want)
			}
			conn.Close()
		}
		db.Close()
	}
}
