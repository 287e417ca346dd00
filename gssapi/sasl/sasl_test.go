package sasl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

const (
	alice   = "alice@TEST.GSS"
	service = "imap@server.test"
)

var realm *gsstest.Realm

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		realm, err = gsstest.Start(&gsstest.Options{Principals: []string{"alice", "imap/server.test"}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer realm.Close()
	ccache, err := realm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	keytab, e := realm.Keytab("imap/server.test")
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

// kind is the library's. GNU gss is skipped: it does not read the realm's files.
func kind(t *testing.T) gss.Kind {
	t.Helper()
	l, err := gss.Library()
	check(t, err)
	if l.Kind == gss.KindGNU {
		t.Skip("GNU gss does not read the realm's files, and accepts for tests only")
	}
	return l.Kind
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "sasl: ") {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func name(t *testing.T, s string) *gssapi.Name {
	t.Helper()
	n, err := gssapi.ImportName(s, gssapi.NTHostBasedService)
	check(t, err)
	return n
}

// exchange has both authenticate, as a protocol does that sends initial responses
// or does not. The error is that of the one that failed first.
func authenticate(t *testing.T, c *Client, s *Server, initial bool) error {
	t.Helper()
	_, response, err := c.Start()
	if err != nil {
		return err
	}
	if !initial {
		challenge, done, err := s.Next(nil)
		if len(challenge) > 0 || challenge == nil || done || err != nil {
			t.Fatalf("no response: %q, %v, %v", challenge, done, err)
		}
	}
	for range 10 {
		challenge, done, err := s.Next(response)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
		if response, err = c.Next(challenge); err != nil {
			return err
		}
		if response == nil {
			t.Fatal("a response is nil")
		}
	}
	t.Fatal("it does not end")
	return nil
}

func bindings(s string) *gssapi.ChannelBindings {
	return &gssapi.ChannelBindings{ApplicationData: []byte(s)}
}

// Both ends come to the same result, and what they agreed on protects a connection.
func TestExchange(t *testing.T) {
	kind(t)
	both := bindings("tls-exporter:12345678")
	for _, test := range []struct {
		mechanism  string
		c, s, want Layers
		b          *gssapi.ChannelBindings
	}{
		{"", 0, 0, LayerNone, nil},
		{GSSAPI, 0, allLayers, LayerNone, both},
		{GSSAPI, allLayers, allLayers, LayerConfidentiality, nil},
		{GSSAPI, allLayers, LayerNone | LayerIntegrity, LayerIntegrity, both},
		{GSSAPI, LayerIntegrity, allLayers, LayerIntegrity, nil},
		{GSSAPI, LayerConfidentiality, LayerConfidentiality | LayerIntegrity, LayerConfidentiality, nil},
		{GSSAPI, allLayers, LayerNone, LayerNone, nil},
		{GS2Krb5, 0, 0, LayerNone, nil},
		{GS2Krb5Plus, 0, 0, LayerNone, both},
		{GSSSPNEGO, LayerConfidentiality, LayerConfidentiality, LayerConfidentiality, nil},
		{GSSSPNEGO, allLayers, allLayers, LayerConfidentiality, both},
	} {
		t.Run(fmt.Sprint(test.mechanism, ",", test.c, ",", test.s, ",", test.b != nil), func(t *testing.T) {
			for _, initial := range []bool{true, false} {
				c := NewClient(name(t, service), &ClientOptions{Mechanism: test.mechanism, Layers: test.c, Bindings: test.b})
				s := NewServer(&ServerOptions{Mechanism: test.mechanism, Layers: test.s, Acceptor: &gssapi.AcceptorOptions{Bindings: test.b}})
				if c.Layer() != 0 || s.Layer() != 0 || c.Info() != nil || s.AuthzID() != "" {
					t.Error("there is something before the exchange")
				}
				check(t, authenticate(t, c, s, initial))
				if c.Layer() != test.want || s.Layer() != test.want {
					t.Errorf("layers: %v and %v, want %v", c.Layer(), s.Layer(), test.want)
				}
				if id, peer := s.AuthzID(), s.Info().Peer().String(); id != alice || peer != alice {
					t.Errorf("the client is %s and acts as %s", peer, id)
				}
				if peer := c.Info().Peer().String(); !strings.HasPrefix(peer, "imap/server.test@") {
					t.Errorf("the server is %s", peer)
				}
				if _, err := c.Next([]byte{}); err != nil {
					t.Errorf("the server's last, empty challenge: %v", err)
				}
				_, _, err := s.Next([]byte{})
				want(t, "Next after the end", err, gssapi.ErrNoContext)
				protects(t, c, s, test.want)
			}
		})
	}
}

// protects sends something through the layer, and looks at it.
func protects(t *testing.T, c *Client, s *Server, layer Layers) {
	t.Helper()
	x, y := net.Pipe()
	var sent bytes.Buffer
	cc, err := c.Conn(tap{x, &sent})
	check(t, err)
	sc, err := s.Conn(y)
	check(t, err)
	text := []byte(strings.Repeat("who can read this? ", 20000))
	got := make([]byte, len(text))
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(sc, got)
		done <- err
	}()
	_, err = cc.Write(text)
	check(t, err)
	check(t, <-done)
	if !bytes.Equal(got, text) {
		t.Error("something else came")
	}
	if clear := bytes.Contains(sent.Bytes(), []byte("read this")); clear != (layer != LayerConfidentiality) {
		t.Errorf("%v, and the text is readable: %v", layer, clear)
	}
	if more := sent.Len() > len(text); more != (layer != LayerNone) {
		t.Errorf("%v, and %d bytes were %d", layer, len(text), sent.Len())
	}
	go cc.Close()
	if n, err := sc.Read(got); n != 0 || err != io.EOF {
		t.Errorf("the end: %d, %v", n, err)
	}
	sc.Close()
}

type tap struct {
	net.Conn
	sent *bytes.Buffer
}

func (x tap) Write(p []byte) (int, error) {
	x.sent.Write(p)
	return x.Conn.Write(p)
}

// What must not come to an end.
func TestRefused(t *testing.T) {
	k := kind(t)
	one, other := bindings("tls-exporter:1"), bindings("tls-exporter:2")
	denied := errors.New("denied")
	type options struct {
		c      ClientOptions
		s      ServerOptions
		target string
	}
	acceptor := func(b *gssapi.ChannelBindings) *gssapi.AcceptorOptions { return &gssapi.AcceptorOptions{Bindings: b} }
	for what, test := range map[string]struct {
		o    options
		want error
		text string
	}{
		"less than required":    {options{c: ClientOptions{Layers: LayerConfidentiality}, s: ServerOptions{Layers: LayerNone | LayerIntegrity}}, gssapi.ErrUnauthorized, "the server offers the security layers none,integrity, and here confidentiality are wanted"},
		"more than possible":    {options{s: ServerOptions{Layers: LayerConfidentiality}}, gssapi.ErrUnauthorized, "confidentiality"},
		"another service":       {options{target: "smtp@server.test"}, nil, "smtp/server.test"},
		"bindings":              {options{c: ClientOptions{Bindings: one}, s: ServerOptions{Acceptor: acceptor(other)}}, gssapi.ErrBadBindings, ""},
		"bindings, GS2":         {options{c: ClientOptions{Bindings: one, Mechanism: GS2Krb5Plus}, s: ServerOptions{Acceptor: acceptor(other), Mechanism: GS2Krb5Plus}}, gssapi.ErrBadBindings, ""},
		"type of bindings":      {options{c: ClientOptions{Bindings: one, Mechanism: GS2Krb5Plus}, s: ServerOptions{Acceptor: acceptor(bindings("tls-unique:1")), Mechanism: GS2Krb5Plus}}, gssapi.ErrBadBindings, "tls-exporter"},
		"PLUS was taken out":    {options{c: ClientOptions{Bindings: one, Mechanism: GS2Krb5}, s: ServerOptions{Acceptor: acceptor(one), Mechanism: GS2Krb5}}, gssapi.ErrBadBindings, "changed the offer"},
		"PLUS without":          {options{c: ClientOptions{Mechanism: GS2Krb5Plus}}, gssapi.ErrBadBindings, "needs Bindings"},
		"bindings with no type": {options{c: ClientOptions{Bindings: bindings("x"), Mechanism: GS2Krb5Plus}}, gssapi.ErrBadBindings, "colon"},
		"GS2 with layers":       {options{c: ClientOptions{Layers: LayerIntegrity, Mechanism: GS2Krb5}}, gssapi.ErrUnavailable, "no security layers"},
		"GS2 server, layers":    {options{c: ClientOptions{Mechanism: GS2Krb5}, s: ServerOptions{Layers: LayerIntegrity, Mechanism: GS2Krb5}}, gssapi.ErrUnavailable, "no security layers"},
		"no mechanism":          {options{c: ClientOptions{Mechanism: "PLAIN"}}, gssapi.ErrBadMech, `"PLAIN"`},
		"no layer":              {options{c: ClientOptions{Layers: 8}}, gssapi.ErrBadQOP, "0x8"},
		"MaxFrame":              {options{c: ClientOptions{MaxFrame: 1 << 24}}, gssapi.ErrFailure, "16777216"},
		"MaxFrame of 255":       {options{s: ServerOptions{MaxFrame: 255}}, gssapi.ErrFailure, "255"},
		"somebody else":         {options{c: ClientOptions{AuthzID: "bob@TEST.GSS"}}, gssapi.ErrUnauthorized, `alice@TEST.GSS may not act as "bob@TEST.GSS"`},
		"somebody else, GS2":    {options{c: ClientOptions{AuthzID: "b,o=b", Mechanism: GS2Krb5}, s: ServerOptions{Mechanism: GS2Krb5}}, gssapi.ErrUnauthorized, `"b,o=b"`},
		"Authorize":             {options{c: ClientOptions{AuthzID: "bob"}, s: ServerOptions{Authorize: func(*gssapi.ContextInfo, string) error { return denied }}}, denied, "bob"},
		"SPNEGO and authzid":    {options{c: ClientOptions{AuthzID: "bob", Mechanism: GSSSPNEGO}}, gssapi.ErrUnavailable, "authorization"},
		"a NUL":                 {options{c: ClientOptions{AuthzID: "a\x00b"}}, gssapi.ErrBadName, "NUL"},
		"SPNEGO, too much":      {options{c: ClientOptions{Mechanism: GSSSPNEGO}, s: ServerOptions{Mechanism: GSSSPNEGO}}, gssapi.ErrUnauthorized, "NoCIFlags"},
		"SPNEGO for GSSAPI":     {options{c: ClientOptions{Mechanism: GSSSPNEGO, Layers: allLayers}}, gssapi.ErrBadMech, ""},
	} {
		t.Run(what, func(t *testing.T) {
			if what == "SPNEGO, too much" && k == gss.KindHeimdal {
				t.Skip("heimdal: its initiators ask for what they are told to ask for")
			}
			target := service
			if test.o.target != "" {
				target = test.o.target
			}
			c, s := NewClient(name(t, target), &test.o.c), NewServer(&test.o.s)
			err := authenticate(t, c, s, true)
			if err == nil {
				t.Fatal("it is accepted")
			}
			if test.want == nil {
				test.want = err
			}
			want(t, "the exchange", err, test.want)
			if !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, without %s", err, test.text)
			}
			_, cerr := c.Next(nil)
			_, done, serr := s.Next([]byte("x"))
			if cerr != err && serr != err || done {
				t.Errorf("the next: %v, %v", cerr, serr)
			}
			cc, cerr := c.Conn(nil)
			sc, serr := s.Conn(nil)
			if cerr == nil && serr == nil || cerr == nil && cc != nil || serr == nil && sc != nil {
				t.Errorf("there are connections: %v, %v", cerr, serr)
			}
		})
	}
}

func TestAuthzID(t *testing.T) {
	kind(t)
	for _, mechanism := range []string{GSSAPI, GS2Krb5} {
		for _, id := range []string{"", alice, "bob", "dn:uid=alice,dc=x", "=,=2C=3D", "ü"} {
			var asked string
			s := NewServer(&ServerOptions{Mechanism: mechanism})
			if id != alice {
				s.o.Authorize = func(peer *gssapi.ContextInfo, authzID string) error {
					asked = peer.Peer().String() + " " + authzID
					return nil
				}
			}
			check(t, authenticate(t, NewClient(name(t, service), &ClientOptions{Mechanism: mechanism, AuthzID: id}), s, true))
			is, was := id, alice+" "+id
			switch id {
			case "":
				is, was = alice, ""
			case alice:
				was = ""
			}
			if s.AuthzID() != is || asked != was {
				t.Errorf("%s, %q: %q, asked %q", mechanism, id, s.AuthzID(), asked)
			}
		}
	}
}

// Each end refuses what the other one may not say.
func TestAnnouncements(t *testing.T) {
	kind(t)
	sealed := func(x *exchange, b []byte, p gssapi.Protection) []byte {
		token, err := x.ctx.AppendWrap(nil, b, p)
		check(t, err)
		return token
	}
	// begun is an exchange in which the server's offer is due.
	begun := func(layers Layers) (c *Client, s *Server, response []byte) {
		c = NewClient(name(t, service), &ClientOptions{Layers: layers})
		s = NewServer(&ServerOptions{Layers: layers})
		_, b, err := c.Start()
		check(t, err)
		for c.state != offering {
			b, _, err = s.Next(b)
			check(t, err)
			b, err = c.Next(b)
			check(t, err)
		}
		return c, s, b
	}
	offered := func(layers Layers) (c *Client, s *Server, offer []byte) {
		c, s, response := begun(layers)
		offer, _, err := s.Next(response)
		check(t, err)
		return c, s, offer
	}
	for _, test := range []struct {
		offer []byte
		want  error
	}{
		{[]byte{1, 0, 0, 0}, nil},
		{[]byte{1, 1, 0, 0}, nil}, // Java's
		{[]byte{7, 0, 1, 0}, nil},
		{[]byte{0xff, 0, 1, 0}, nil},
		{nil, gssapi.ErrDefectiveToken},
		{[]byte{1, 0, 0}, gssapi.ErrDefectiveToken},
		{[]byte{1, 0, 0, 0, 0}, gssapi.ErrDefectiveToken},
		{[]byte{0, 0, 0, 0}, gssapi.ErrUnauthorized},
		{[]byte{8, 0, 1, 0}, gssapi.ErrUnauthorized},
		{[]byte{4, 0, 0, 0}, gssapi.ErrDefectiveToken},
	} {
		c, s, _ := begun(allLayers)
		_, err := c.Next(sealed(&s.exchange, test.offer, gssapi.Integrity))
		if test.want == nil {
			check(t, err)
			continue
		}
		want(t, fmt.Sprintf("the offer %x", test.offer), err, test.want)
	}
	for _, test := range []struct {
		choice []byte
		layers Layers
		want   error
	}{
		{[]byte{1, 0, 0, 0}, allLayers, nil},
		{[]byte{1, 1, 0, 0}, LayerNone, nil}, // Java's
		{[]byte{4, 0, 1, 0}, allLayers, nil},
		{nil, allLayers, gssapi.ErrDefectiveToken},
		{[]byte{1, 0, 0}, allLayers, gssapi.ErrDefectiveToken},
		{[]byte{0, 0, 0, 0}, allLayers, gssapi.ErrUnauthorized},
		{[]byte{3, 0, 1, 0}, allLayers, gssapi.ErrUnauthorized},
		{[]byte{8, 0, 1, 0}, allLayers, gssapi.ErrUnauthorized},
		{[]byte{2, 0, 1, 0}, LayerConfidentiality, gssapi.ErrUnauthorized},
		{[]byte{1, 0, 0, 0}, LayerConfidentiality, gssapi.ErrUnauthorized},
		{[]byte{4, 0, 0, 0}, allLayers, gssapi.ErrDefectiveToken},
		{[]byte{1, 0, 0, 0, 'a', 0}, allLayers, gssapi.ErrBadName},
		{[]byte{1, 0, 0, 0, 0xff}, allLayers, gssapi.ErrBadName},
	} {
		c, s, _ := offered(test.layers)
		_, done, err := s.Next(sealed(&c.exchange, test.choice, gssapi.Integrity))
		if test.want == nil {
			check(t, err)
			continue
		}
		want(t, fmt.Sprintf("the choice %x", test.choice), err, test.want)
		if done {
			t.Error("and it is done")
		}
	}
	// What was changed on the way, in each byte, and what is cut.
	_, _, offer := offered(allLayers)
	for n := range offer {
		c, _, offer := offered(allLayers)
		offer[n] ^= 4
		_, err := c.Next(offer)
		if rrc := n == 6 || n == 7; rrc && err == nil && c.Layer() == LayerConfidentiality {
			continue // how often the token is rotated: RFC 4121, 4.2.5; nothing else has changed
		}
		if err == nil || c.Layer() != 0 {
			t.Errorf("byte %d of the offer was changed: %v", n, err)
		}
		c, _, offer = offered(allLayers)
		if _, err := c.Next(offer[:n]); err == nil || c.Layer() != 0 {
			t.Errorf("the offer was cut at %d: %v", n, err)
		}
	}
}

// A peer's limit is kept to.
func TestMaxFrame(t *testing.T) {
	kind(t)
	for _, layer := range []Layers{LayerIntegrity, LayerConfidentiality} {
		c := NewClient(name(t, service), &ClientOptions{Layers: layer, MaxFrame: 1000})
		s := NewServer(&ServerOptions{Layers: layer, MaxFrame: 500})
		check(t, authenticate(t, c, s, true))
		if c.read != 1000 || c.write != 500 || s.read != 500 || s.write != 500 {
			t.Errorf("%+v, %+v", c.agreed, s.agreed)
		}
		protects(t, c, s, layer)
	}
}

func TestOrder(t *testing.T) {
	kind(t)
	c := NewClient(name(t, service), nil)
	_, err := c.Next(nil)
	want(t, "Next before Start", err, gssapi.ErrNoContext)
	_, _, err = c.Start()
	check(t, err)
	_, _, err = c.Start()
	want(t, "Start again", err, gssapi.ErrFailure)
	_, err = c.Conn(nil)
	want(t, "Conn", err, gssapi.ErrNoContext)
	check(t, c.Close())
	check(t, c.Close())
	_, err = c.Next(nil)
	want(t, "Next after Close", err, gssapi.ErrNoContext)
	s := NewServer(nil)
	_, _, err = s.Next(nil)
	check(t, err)
	_, _, err = s.Next(nil)
	want(t, "nothing again", err, gssapi.ErrDefectiveToken)
	check(t, new(Server).Close())
}

type (
	franzSession interface {
		Challenge([]byte) (bool, []byte, error)
	}
	segmentMachine interface {
		Next(ctx context.Context, challenge []byte) (bool, []byte, error)
	}
)

func TestMechanism(t *testing.T) {
	kind(t)
	franz := &Mechanism[franzSession]{Service: "imap"}
	if franz.Name() != GSSAPI {
		t.Errorf("the name is %q", franz.Name())
	}
	session, b, err := franz.Authenticate(t.Context(), "server.test:9092")
	check(t, err)
	s := NewServer(nil)
	for done := false; !done; {
		var challenge []byte
		challenge, sdone, err := s.Next(b)
		check(t, err)
		if sdone {
			t.Fatal("the server is done first")
		}
		done, b, err = session.Challenge(challenge)
		check(t, err)
	}
	if _, done, err := s.Next(b); !done || err != nil { // what came with done was sent
		t.Error(done, err)
	}

	segment := &Mechanism[segmentMachine]{Service: "imap", Host: func(context.Context) string { return "server.test" }}
	machine, b, err := segment.Start(t.Context())
	check(t, err)
	s = NewServer(nil)
	for {
		challenge, sdone, err := s.Next(b)
		check(t, err)
		var done bool
		done, b, err = machine.Next(t.Context(), challenge)
		check(t, err)
		if done != sdone {
			t.Fatalf("the client is done: %v, the server: %v", done, sdone)
		}
		if done {
			break
		}
	}
	_, _, err = (&Mechanism[segmentMachine]{Service: "imap"}).Start(t.Context())
	want(t, "no Host", err, gssapi.ErrFailure)
	_, _, err = (&Mechanism[io.Reader]{Service: "imap"}).Authenticate(t.Context(), "server.test")
	want(t, "another interface", err, gssapi.ErrFailure)
	_, _, err = (&Mechanism[franzSession]{Service: "imap", Options: ClientOptions{Layers: LayerIntegrity}}).Authenticate(t.Context(), "server.test")
	want(t, "layers", err, gssapi.ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = franz.Authenticate(ctx, "server.test")
	want(t, "a context that is done", err, context.Canceled)
}

// ---- GS2 ----

func TestParseHeader(t *testing.T) {
	for _, test := range []struct {
		msg, flag, id string
		ok            bool
	}{
		{"n,,x", "n", "", true},
		{"y,,x", "y", "", true},
		{"p=tls-unique,,x", "p=tls-unique", "", true},
		{"F,n,,x", "n", "", true},
		{"n,a=alice,x", "n", "alice", true},
		{"n,a=a=2Cb=3Dc,x", "n", "a,b=c", true},
		{"n,a=\u00fc,x", "n", "ü", true},
		{"", "", "", false},
		{"n", "", "", false},
		{"n,", "", "", false},
		{"N,,x", "", "", false},
		{"p=,,x", "", "", false},
		{"p=a b,,x", "", "", false},
		{"p,,x", "", "", false},
		{"F,F,n,,x", "", "", false},
		{"n,alice,x", "", "", false},
		{"n,a=,x", "", "", false},
		{"n,a=a=b,x", "", "", false},
		{"n,a==2c,x", "", "", false},
		{"n,a=\xff,x", "", "", false},
		{"n,a=\x00,x", "", "", false},
		{"F,n,,\x60\x0c\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02x", "", "", false},
	} {
		h, _, err := parseHeader([]byte(test.msg))
		if (err == nil) != test.ok || err == nil && (h.flag != test.flag || h.authzID != test.id) {
			t.Errorf("%q: %+v, %v", test.msg, h, err)
		}
	}
}

// What is parsed is written in the same way.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("p=tls-unique,a=a=2Cb,token"))
	f.Add([]byte("F,y,,"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, token, err := parseHeader(msg)
		if err != nil {
			return
		}
		again := h.frame(token)
		if !bytes.Equal(again, msg) {
			t.Errorf("%q is %q", msg, again)
		}
	})
}

func FuzzAnnouncement(f *testing.F) {
	f.Add([]byte{7, 0, 1, 0})
	f.Add([]byte{1, 0, 0, 0, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnnouncement(b)
		if err == nil && !bytes.Equal(a.append(nil), b) {
			t.Errorf("%x is %x", b, a.append(nil))
		}
		_ = a.layers.String()
	})
}
