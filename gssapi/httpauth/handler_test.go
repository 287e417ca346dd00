package httpauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// take returns what was logged since the last time.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

// site is a server with a Handler.
type site struct {
	h    *Handler
	addr string
	log  *journal
	url  string
}

// whoami tells who asks.
func whoami(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	id := FromContext(r.Context())
	if id == nil {
		fmt.Fprint(w, "nobody")
		return
	}
	fmt.Fprintf(w, "%s %s %s %d %v", id.Name, id.Method, id.Flags&gssapi.FlagChannelBound, n, err)
}

// handler makes a Handler that logs to a journal.
func handler(t testing.TB, next http.HandlerFunc, o *ServerOptions) (*Handler, *journal) {
	t.Helper()
	if o == nil {
		o = new(ServerOptions)
	}
	log := new(journal)
	o.Logger = slog.New(slog.NewJSONHandler(log, nil))
	h, err := NewHandler(next, o)
	check(t, err)
	return h, log
}

// serve starts a server of whoami, without TLS, that h is attached to.
func serve(t testing.TB, o *ServerOptions) *site {
	t.Helper()
	h, log := handler(t, whoami, o)
	return start(t, h, log, &http.Server{Handler: h}, true)
}

// start starts a server on a free port.
func start(t testing.TB, h *Handler, log *journal, s *http.Server, attach bool) *site {
	t.Helper()
	if attach {
		check(t, h.Attach(s))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return &site{h, l.Addr().String(), log, "http://localhost:" + port}
}

// ticketsOf is the credential in a ccache.
func ticketsOf(t testing.TB, ccache string) *gssapi.Credential {
	t.Helper()
	c, err := gssapi.Acquire(t.Context(), &gssapi.CredentialOptions{CCache: "FILE:" + ccache, Mechs: []gssapi.OID{gssapi.MechKrb5, gssapi.MechSPNEGO}})
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// initiator begins a context with HTTP on a host.
func initiator(t testing.TB, host string, o *gssapi.InitiatorOptions) *gssapi.Context {
	t.Helper()
	name, err := gssapi.HostService("HTTP", host)
	check(t, err)
	if o == nil {
		o = new(gssapi.InitiatorOptions)
	}
	if o.Mech == "" {
		o.Mech = gssapi.MechSPNEGO
	}
	c := gssapi.NewInitiator(name, o)
	t.Cleanup(func() {
		c.Close()
		name.Close()
	})
	return c
}

// token is the first one for localhost.
func token(t testing.TB, o *gssapi.InitiatorOptions) []byte {
	t.Helper()
	b, err := initiator(t, "localhost", o).Step(t.Context(), nil)
	check(t, err)
	return b
}

// answered is a response with its body.
type answered struct {
	*http.Response
	text string
}

// ask sends a request with an Authorization header, unless that is empty.
func ask(t testing.TB, client *http.Client, url, authorization string) *answered {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	check(t, err)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return send(t, client, r)
}

func send(t testing.TB, client *http.Client, r *http.Request) *answered {
	t.Helper()
	resp, err := client.Do(r)
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	return &answered{resp, string(b)}
}

// client has connections of its own, and no cookies.
func client(t testing.TB) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// want checks the status and a part of the body.
func (a *answered) want(t testing.TB, status int, text string) {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(a.text, text) {
		t.Errorf("%d %q, and it should be %d %q", a.StatusCode, a.text, status, text)
	}
}

// logged checks that the journal has exactly one record, of that level and with these
// texts, and returns it.
func logged(t testing.TB, log *journal, level string, texts ...string) map[string]any {
	t.Helper()
	text := log.take()
	var record map[string]any
	if strings.Count(text, "\n") != 1 || json.Unmarshal([]byte(text), &record) != nil || record["level"] != level {
		t.Errorf("one record of level %s expected: %s", level, text)
		return nil
	}
	for _, s := range texts {
		if !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), s) {
			t.Errorf("the record has no %q: %s", s, text)
		}
	}
	return record
}

func TestLogin(t *testing.T) {
	needsLibrary(t)
	s, c := serve(t, nil), client(t)
	resp := ask(t, c, s.url, "")
	resp.want(t, 401, "Unauthorized")
	if got := resp.Header.Values("WWW-Authenticate"); len(got) != 1 || got[0] != "Negotiate" {
		t.Errorf("challenges: %q", got)
	}
	if text := s.log.take(); text != "" {
		t.Errorf("a first request is logged: %s", text)
	}
	for _, mech := range []gssapi.OID{gssapi.MechSPNEGO, gssapi.MechKrb5} {
		i := initiator(t, "localhost", &gssapi.InitiatorOptions{Mech: mech})
		first, err := i.Step(t.Context(), nil)
		check(t, err)
		resp = ask(t, c, s.url, negotiate(first))
		resp.want(t, 200, "alice@TEST.GSS Negotiate")
		if got := resp.Header.Get("Cache-Control"); got != "private" {
			t.Errorf("Cache-Control is %q", got)
		}
		record := logged(t, s.log, "INFO", "alice@TEST.GSS", "Negotiate", `"remote":"127.0.0.1:`)
		if strings.Contains(fmt.Sprint(record), negotiate(first)[10:60]) {
			t.Error("the token is logged")
		}
		final, found, err := challenge(resp.Header, "WWW-Authenticate")
		if err != nil || !found {
			t.Fatalf("no final token: %v", err)
		}
		if _, err := i.Step(t.Context(), final); err != nil || !i.Established() {
			t.Errorf("the server does not prove who it is: %v", err)
		}
		// The connection is nobody's.
		ask(t, c, s.url, "").want(t, 401, "")
	}
}

// What clients send that is none, and what the log makes of it.
func TestBadToken(t *testing.T) {
	needsLibrary(t)
	s, c := serve(t, nil), client(t)
	ntlmInside := func() []byte {
		_, b := newSPNEGO(t, []gssapi.OID{gssapi.MechNTLM}, []byte(ntlm+"\x01\x00\x00\x00\x07\x82\x08\xa2"))
		return b
	}()
	stranger := func() []byte {
		b, err := initiator(t, "other.test", nil).Step(t.Context(), nil)
		check(t, err)
		return b
	}()
	for name, test := range map[string]struct {
		authorization, log string
	}{
		"no base64":                {"Negotiate ====", "not in base64"},
		"empty":                    {"Negotiate", "empty"},
		"300 KiB":                  {negotiate(make([]byte, 300<<10)), "longer than"},
		"190 KiB of zeros":         {negotiate(make([]byte, 190<<10)), "goes on with an exchange"},
		"190 KiB of a first token": {negotiate(append(tlv(0x60, tlv(0x06, []byte(gssapi.MechSPNEGO))), make([]byte, 190<<10)...)), ""},
		"garbage":                  {negotiate([]byte("garbage")), "goes on with an exchange"},
		"a mechanism of nobody":    {negotiate(tlv(0x60, tlv(0x06, []byte(foreign)), []byte("x"))), "1.2.3.4.5"},
		"another service":          {negotiate(stranger), "HTTP/other.test@TEST.GSS"},
		"NTLM":                     {negotiate([]byte(ntlm + "\x01\x00\x00\x00\x07\x82\x08\xa2")), "the client sent NTLM"},
		"NTLM in SPNEGO":           {negotiate(ntlmInside), "the client sent NTLM"},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, c, s.url, test.authorization)
			a.want(t, 401, "Unauthorized")
			if _, found, err := challenge(a.Header, "WWW-Authenticate"); !found || err != nil {
				t.Errorf("no challenge: %q, %v", a.Header, err)
			}
			record := fmt.Sprint(logged(t, s.log, "WARN", test.log))
			if _, token, _ := strings.Cut(test.authorization, " "); len(token) > 4 && strings.Contains(record, token[:min(len(token), 40)]) {
				t.Errorf("the token is logged: %s", record)
			}
		})
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.url, nil)
	check(t, err)
	r.Header["Authorization"] = []string{negotiate(token(t, nil)), negotiate(token(t, nil))}
	send(t, c, r).want(t, 401, "")
	logged(t, s.log, "WARN", "more than one Authorization")
}

// A token is good for one request, however it is wrapped, on libraries with a replay
// cache and without.
func TestReplay(t *testing.T) {
	needsLibrary(t)
	for _, cache := range []string{"", "none:"} { // of MIT
		if cache != "" {
			t.Setenv("KRB5RCACHENAME", cache)
		}
		s, c := serve(t, nil), client(t)
		bare := token(t, &gssapi.InitiatorOptions{Mech: gssapi.MechKrb5})
		_, first := newSPNEGO(t, []gssapi.OID{gssapi.MechKrb5}, bare)
		_, second := newSPNEGO(t, []gssapi.OID{gssapi.MechKrb5, foreign}, bare)
		ask(t, c, s.url, negotiate(first)).want(t, 200, "alice@TEST.GSS")
		for _, again := range [][]byte{first, second, bare} {
			s.log.take()
			ask(t, c, s.url, negotiate(again)).want(t, 401, "")
			logged(t, s.log, "WARN", "replay")
		}
		ask(t, c, s.url, negotiate(token(t, nil))).want(t, 200, "alice@TEST.GSS")
	}
}

// A server that is not in order says so, and to whom it may concern.
func TestServerFaults(t *testing.T) {
	needsLibrary(t)
	s, c := serve(t, nil), client(t)
	for _, mech := range []gssapi.OID{gssapi.MechSPNEGO, gssapi.MechKrb5} {
		authorization := negotiate(token(t, &gssapi.InitiatorOptions{Mech: mech}))
		for _, file := range []string{"/nonexistent/keytab", "FILE:" + t.TempDir()} {
			t.Run(file, func(t *testing.T) {
				t.Setenv("KRB5_KTNAME", file)
				a := ask(t, c, s.url, authorization)
				a.want(t, 503, "Service Unavailable")
				if got := a.Header.Get("WWW-Authenticate"); got != "" {
					t.Errorf("it asks for credentials: %q", got)
				}
				logged(t, s.log, "ERROR", "is the keytab there (KRB5_KTNAME)")
			})
		}
		if isMIT() {
			t.Run("replay cache", func(t *testing.T) {
				t.Setenv("KRB5RCACHENAME", "file2:/nonexistent/rcache")
				ask(t, c, s.url, negotiate(token(t, &gssapi.InitiatorOptions{Mech: mech}))).want(t, 503, "")
				logged(t, s.log, "ERROR", "No such file or directory", "/nonexistent/rcache")
			})
		}
	}
	closed, err := gssapi.Acquire(t.Context(), &gssapi.CredentialOptions{Usage: gssapi.Accept})
	check(t, err)
	s = serve(t, &ServerOptions{Acceptor: &gssapi.AcceptorOptions{Credential: closed}})
	ask(t, c, s.url, negotiate(token(t, nil))).want(t, 200, "alice")
	check(t, closed.Close())
	s.log.take()
	ask(t, c, s.url, negotiate(token(t, nil))).want(t, 503, "")
	logged(t, s.log, "ERROR", "no credential to accept with")
}

// A program starts without a library, and says what to install when it needs one.
func TestNoLibrary(t *testing.T) {
	if os.Getenv(nothingVariable) == "" {
		child(t, "TestNoLibrary", nothingVariable+"=1", "GSSAPI_LIBRARY=/nonexistent/library.so")
		return
	}
	if l, err := gss.Library(); err == nil {
		t.Skipf("this program is linked with %v, and reads no GSSAPI_LIBRARY", l)
	}
	h, log := handler(t, whoami, &ServerOptions{Basic: &BasicOptions{PlainHTTP: true}})
	direct(t, h, "/", "").want(t, 401, "")
	for _, authorization := range []string{negotiate(tlv(0x60, tlv(0x06, []byte(gssapi.MechKrb5)))), "Basic YTpi"} {
		direct(t, h, "/", authorization).want(t, 503, "")
		if record := logged(t, log, "ERROR", "/nonexistent/library.so", "Install one"); strings.Contains(fmt.Sprint(record), "keytab") {
			t.Errorf("it speaks of a keytab: %v", record)
		}
	}
}

// A ticket that has expired is refused. It runs in a process whose realm takes clocks to
// be right: Heimdal 7.8 reads a configuration once.
func TestExpired(t *testing.T) {
	needsLibrary(t)
	if os.Getenv(skewVariable) == "" {
		child(t, "TestExpired", skewVariable+"=1s")
		return
	}
	const lifetime = 3 * time.Second
	tickets, err := realm.Kinit("alice", &gsstest.KinitOptions{Lifetime: lifetime})
	check(t, err)
	expiry := time.Now().Add(lifetime)
	short := &gssapi.InitiatorOptions{Credential: ticketsOf(t, tickets)}
	first := token(t, short)
	s, c := serve(t, nil), client(t)
	ask(t, c, s.url, negotiate(token(t, short))).want(t, 200, "alice@TEST.GSS")
	s.log.take()
	// sleep: until the ticket has expired, for the library, whose clock cannot be set
	time.Sleep(time.Until(expiry.Add(3 * time.Second)))
	ask(t, c, s.url, negotiate(first)).want(t, 401, "")
	logged(t, s.log, "WARN", "expired")
}

// An established context whose ticket has expired is nobody's: Heimdal 7.8 takes tickets
// for the clock skew longer.
func TestExpiredContext(t *testing.T) {
	needsLibrary(t)
	tickets, err := realm.Kinit("alice", &gsstest.KinitOptions{Lifetime: 3 * time.Second})
	check(t, err)
	i, a := initiator(t, "localhost", &gssapi.InitiatorOptions{Credential: ticketsOf(t, tickets)}), gssapi.NewAcceptor(nil)
	defer a.Close()
	first, err := i.Step(t.Context(), nil)
	check(t, err)
	_, err = a.Step(t.Context(), first)
	check(t, err)
	if id, refused := identityOf(a, MethodNegotiate); refused != nil || id.Name != "alice@TEST.GSS" {
		t.Fatalf("before: %v", refused)
	}
	if isMIT() {
		t.Skip("MIT's contexts live for the clock skew longer, 5 minutes")
	}
	info, err := a.Info()
	check(t, err)
	// sleep: until the ticket has expired, for the library, whose clock cannot be set
	time.Sleep(time.Until(info.Expiry.Add(time.Second)))
	if _, refused := identityOf(a, MethodNegotiate); refused == nil || refused.status != 401 || !strings.Contains(refused.err.Error(), "alice@TEST.GSS has expired") {
		t.Errorf("after: %+v", refused)
	}
}

// Next decides for itself without credentials, and wrong ones are refused even so.
func TestOptional(t *testing.T) {
	needsLibrary(t)
	var h *Handler
	h, log := handler(t, func(w http.ResponseWriter, r *http.Request) {
		if FromContext(r.Context()) == nil && r.URL.Path == "/private" {
			h.Demand(w, r)
			return
		}
		whoami(w, r)
	}, &ServerOptions{Optional: true, Session: new(SessionOptions)})
	s, c := start(t, h, log, &http.Server{Handler: h}, true), client(t)
	a := ask(t, c, s.url, "")
	a.want(t, 200, "nobody")
	if a.Header.Get("Set-Cookie") != "" || a.Header.Get("Cache-Control") != "" {
		t.Errorf("nobody has %q", a.Header)
	}
	a = ask(t, c, s.url+"/private", "")
	a.want(t, 401, "Unauthorized")
	if got := a.Header.Get("WWW-Authenticate"); got != "Negotiate" {
		t.Errorf("the challenge is %q", got)
	}
	if text := log.take(); text != "" {
		t.Errorf("logged: %s", text)
	}
	ask(t, c, s.url+"/private", negotiate(token(t, nil))).want(t, 200, "alice@TEST.GSS")
	ask(t, c, s.url, negotiate([]byte("garbage"))).want(t, 401, "")
}

// Who is known need not be let in, and the final token is there even so.
func TestAuthorize(t *testing.T) {
	needsLibrary(t)
	s := serve(t, &ServerOptions{Session: new(SessionOptions), Authorize: func(r *http.Request, id *Identity) error {
		if FromContext(r.Context()) != id {
			t.Error("the request is not that of the identity")
		}
		if id.Name != "bob@TEST.GSS" {
			return errors.New("only bob may, secretly")
		}
		return nil
	}})
	c := client(t)
	a := ask(t, c, s.url, negotiate(token(t, nil)))
	a.want(t, 403, "Forbidden")
	if token, _, err := challenge(a.Header, "WWW-Authenticate"); token == nil || err != nil {
		t.Errorf("no final token: %v", err)
	}
	if strings.Contains(a.text, "secretly") || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("the client gets %q %q", a.text, a.Header)
	}
	logged(t, s.log, "WARN", "alice@TEST.GSS may not come in", "secretly", `"status":403`)
	bob := ticketsOf(t, bobTickets)
	ask(t, c, s.url, negotiate(token(t, &gssapi.InitiatorOptions{Credential: bob}))).want(t, 200, "bob@TEST.GSS")
}

// Who has a name that cannot be told apart from others is not let in.
func TestUnprintableName(t *testing.T) {
	needsLibrary(t)
	const odd = "a\u2028b"
	check(t, realm.AddPrincipal(odd))
	tickets, err := realm.Kinit(odd, nil)
	check(t, err)
	s := serve(t, nil)
	ask(t, client(t), s.url, negotiate(token(t, &gssapi.InitiatorOptions{Credential: ticketsOf(t, tickets)}))).want(t, 403, "Forbidden")
	logged(t, s.log, "WARN", "cannot be printed")
}

// Clients' parts of a record are bounded.
func TestLongRecord(t *testing.T) {
	h, log := handler(t, whoami, nil)
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = strings.Repeat("x", 100_000)
	r.Header.Set("Authorization", "Negotiate !")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if n := len(log.take()); n < 2048 || n > 5000 {
		t.Errorf("the record has %d bytes", n)
	}
}

// The options of the acceptor count.
func TestAcceptorOptions(t *testing.T) {
	needsLibrary(t)
	var established atomic.Int32
	s := serve(t, &ServerOptions{Acceptor: &gssapi.AcceptorOptions{
		Require: gssapi.FlagDeleg, Trace: &gssapi.Trace{Established: func(gssapi.Event) { established.Add(1) }},
	}})
	c := client(t)
	ask(t, c, s.url, negotiate(token(t, nil))).want(t, 401, "")
	logged(t, s.log, "WARN", "required and not granted")
	ask(t, c, s.url, negotiate(token(t, &gssapi.InitiatorOptions{Flags: gssapi.FlagDeleg}))).want(t, 200, "alice")
	if n := established.Load(); n != 1 {
		t.Errorf("the trace was told of %d contexts", n)
	}
	s = serve(t, &ServerOptions{Acceptor: &gssapi.AcceptorOptions{Mechs: []gssapi.OID{gssapi.MechSPNEGO}}})
	ask(t, c, s.url, negotiate(token(t, &gssapi.InitiatorOptions{Mech: gssapi.MechKrb5}))).want(t, 401, "")
	ask(t, c, s.url, negotiate(token(t, nil))).want(t, 200, "alice")
}

// direct asks a Handler that is in no server.
func direct(t testing.TB, h *Handler, path, authorization string) *answered {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	h.ServeHTTP(w, r)
	return &answered{w.Result(), w.Body.String()}
}

// A delegated credential lives as long as the request, unless it is taken.
func TestDelegated(t *testing.T) {
	needsLibrary(t)
	var kept, taken, second *gssapi.Credential
	var id *Identity
	h, log := handler(t, func(w http.ResponseWriter, r *http.Request) {
		id = FromContext(r.Context())
		kept = id.Delegated()
		if kept == nil {
			return
		}
		info, err := kept.Info(r.Context())
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(w, info.Name)
		switch r.URL.Path {
		case "/take":
			taken, second = id.TakeDelegated(), id.TakeDelegated()
		case "/panic":
			panic(http.ErrAbortHandler)
		}
	}, nil)
	delegate := func() string { return negotiate(token(t, &gssapi.InitiatorOptions{Flags: gssapi.FlagDeleg})) }
	closed := func() bool {
		_, err := kept.Info(t.Context())
		return errors.Is(err, gssapi.ErrNoCred)
	}
	direct(t, h, "/", delegate()).want(t, 200, "alice@TEST.GSS")
	logged(t, log, "INFO", `"delegated":true`)
	if !closed() || id.Delegated() != nil || id.TakeDelegated() != nil {
		t.Error("it is not closed after the request")
	}
	direct(t, h, "/take", delegate()).want(t, 200, "alice@TEST.GSS")
	if taken != kept || closed() || second != nil {
		t.Error("it is closed, or was given twice, although it was taken")
	}
	taken.Close()
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler || !closed() {
				t.Error("it is not closed after a panic")
			}
		}()
		direct(t, h, "/panic", delegate())
	}()
	direct(t, h, "/", negotiate(token(t, nil))).want(t, 200, "")
	if kept != nil {
		t.Error("there is one that nobody delegated")
	}
	if i := (*Identity)(nil); i.Delegated() != nil || i.TakeDelegated() != nil || i.LogValue().String() != "(nobody)" {
		t.Error("nobody has something")
	}
}

// The final token goes out however the next handler answers, and the caller's request is
// not changed.
func TestFinalToken(t *testing.T) {
	needsLibrary(t)
	var h *Handler
	h, log := handler(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			w.WriteHeader(http.StatusTeapot)
		case "/flush":
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		case "/hijack":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if _, known := h.connections.Load(conn); known {
				t.Error("a connection that was taken is not forgotten")
			}
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n")
			w.Header().Write(conn)
			fmt.Fprint(conn, "\r\n")
		}
	}, nil)
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if FromContext(r.Context()) != nil {
			t.Error("the caller's request was changed")
		}
	})
	s, c := start(t, h, log, &http.Server{Handler: outer}, true), client(t)
	for path, status := range map[string]int{"/": 200, "/early": 418, "/flush": 200, "/hijack": 200} {
		i := initiator(t, "localhost", nil)
		first, err := i.Step(t.Context(), nil)
		check(t, err)
		a := ask(t, c, s.url+path, negotiate(first))
		a.want(t, status, "")
		final, _, err := challenge(a.Header, "WWW-Authenticate")
		check(t, err)
		if _, err := i.Step(t.Context(), final); err != nil || !i.Established() {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Refused writes the body, and cannot let anybody in.
func TestRefused(t *testing.T) {
	needsLibrary(t)
	var got error
	h, _ := handler(t, whoami, &ServerOptions{Refused: func(w http.ResponseWriter, r *http.Request, status int, err error) {
		got = err
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/status" {
			w.WriteHeader(http.StatusOK)
		}
		if r.URL.Path != "/silent" {
			fmt.Fprintf(w, "<p>%d", status)
		}
	}})
	for _, path := range []string{"/", "/status", "/silent"} {
		a := direct(t, h, path, "")
		a.want(t, 401, "")
		if a.Header.Get("Content-Type") != "text/html" || a.Header.Get("WWW-Authenticate") != "Negotiate" || (a.text == "<p>401") != (path != "/silent") || got != nil {
			t.Errorf("%s: %q %q %v", path, a.Header, a.text, got)
		}
	}
	direct(t, h, "/", "Negotiate !").want(t, 401, "<p>401")
	if got == nil {
		t.Error("it is not told why")
	}
}

// Options that are wrong are told.
func TestOptions(t *testing.T) {
	next := http.HandlerFunc(whoami)
	for text, o := range map[string]*ServerOptions{
		"Bindings is 7":           {Bindings: 7},
		"set ServerOptions":       {Acceptor: &gssapi.AcceptorOptions{RequireBindings: true}},
		"or RequireBindings":      {Acceptor: &gssapi.AcceptorOptions{Bindings: new(gssapi.ChannelBindings)}},
		"cannot go with":          {Basic: new(BasicOptions), Bindings: BindingsRequired},
		"Basic.Realm":             {Basic: &BasicOptions{Realm: "a\nb"}},
		"Basic.Service":           {Basic: &BasicOptions{Service: "HTTP/www.test"}},
		"Basic.KerberosRealms":    {Basic: &BasicOptions{KerberosRealms: []string{"@TEST.GSS"}}},
		"Session.Keys[1] has 31":  {Session: &SessionOptions{Keys: [][]byte{randomKey(), randomKey()[:31]}}},
		"or all the same":         {Session: &SessionOptions{Keys: [][]byte{make([]byte, 32)}}},
		"must not be negative":    {Session: &SessionOptions{Lifetime: -1}},
		`Session.Name is "a b"`:   {Session: &SessionOptions{Name: "a b"}},
		`Session.Name is "__Host`: {Session: &SessionOptions{Name: "__Host-a"}},
	} {
		if _, err := NewHandler(next, o); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := NewHandler(nil, nil); err == nil || !strings.Contains(err.Error(), "no next handler") {
		t.Error(err)
	}
	h, err := NewHandler(next, nil)
	check(t, err)
	if err := h.Attach(nil); err == nil || !strings.Contains(err.Error(), "http.Server") {
		t.Error(err)
	}
}

// Attach calls what was there.
func TestAttachChains(t *testing.T) {
	needsLibrary(t)
	type key struct{}
	h, log := handler(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Context().Value(key{})) }, nil)
	states := make(chan http.ConnState, 100)
	server := &http.Server{
		Handler:     h,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, key{}, "mine") },
		ConnState:   func(_ net.Conn, s http.ConnState) { states <- s },
	}
	s := start(t, h, log, server, true)
	ask(t, client(t), s.url, negotiate(token(t, nil))).want(t, 200, "mine")
	for _, want := range []http.ConnState{http.StateNew, http.StateActive} {
		select { // both came before the answer
		case got := <-states:
			if got != want {
				t.Errorf("%v, and it should be %v", got, want)
			}
		default:
			t.Errorf("%v is not told", want)
		}
	}
}

// A request whose client has gone does not wait for the library.
func TestGone(t *testing.T) {
	h, log := handler(t, whoami, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	r.Header.Set("Authorization", negotiate([]byte("\x60garbage")))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 503 {
		t.Errorf("%d", w.Code)
	}
	logged(t, log, "ERROR", "canceled")
}

// A thousand requests at once of two users, who share connections: neither is taken for the
// other.
func TestTwoUsers(t *testing.T) {
	needsLibrary(t)
	s := serve(t, &ServerOptions{Session: new(SessionOptions)})
	shared := client(t)
	shared.Transport.(*http.Transport).MaxConnsPerHost = 100 // each serves both
	target, err := gssapi.HostService("HTTP", "localhost")
	check(t, err)
	defer target.Close()
	ask := func(header, value, want string) (cookie string) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.url, nil)
		if err != nil {
			t.Error(err)
			return ""
		}
		r.Header.Set(header, value)
		resp, err := shared.Do(r)
		if err != nil {
			t.Error(err)
			return ""
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%q, and it should be %q: %v", b, want, err)
		}
		for _, c := range resp.Cookies() {
			cookie = c.Name + "=" + c.Value
		}
		return cookie
	}
	var wg sync.WaitGroup
	for name, tickets := range map[string]string{"alice": aliceTickets, "bob": bobTickets} {
		cred := ticketsOf(t, tickets)
		for range 500 {
			wg.Go(func() {
				i := gssapi.NewInitiator(target, &gssapi.InitiatorOptions{Mech: gssapi.MechSPNEGO, Credential: cred})
				first, err := i.Step(t.Context(), nil)
				i.Close()
				if err != nil {
					t.Error(err)
					return
				}
				cookie := ask("Authorization", negotiate(first), name+"@TEST.GSS Negotiate")
				ask("Cookie", cookie, name+"@TEST.GSS Session")
			})
		}
	}
	wg.Wait()
}

// No header makes a Handler panic, pass or blame itself.
func FuzzAuthorization(f *testing.F) {
	needsLibrary(f)
	f.Add("Negotiate YIIB")
	f.Add("Basic YTpi")
	f.Add("negotiate TlRMTVNTUAABAAAA")
	f.Add(negotiate([]byte("\x60\x1b\x06\x06\x2b\x06\x01\x05\x05\x02\xa0\x11")))
	passed := false
	h, err := NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true }), &ServerOptions{
		Session: new(SessionOptions), Basic: &BasicOptions{PlainHTTP: true, Service: "HTTP@localhost"},
		Refused: func(w http.ResponseWriter, _ *http.Request, status int, err error) {},
	})
	check(f, err)
	f.Fuzz(func(t *testing.T, value string) {
		if _, password, ok := (&http.Request{Header: http.Header{"Authorization": {value}}}).BasicAuth(); ok && password != "" {
			return // it would ask the KDC
		}
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", value)
		h.ServeHTTP(w, r)
		if passed || w.Code != 401 {
			t.Errorf("%q: %d, passed %t", value, w.Code, passed)
		}
	})
}
