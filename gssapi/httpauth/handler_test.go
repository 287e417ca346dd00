package httpauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
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

// credential of a ccache; nil is alice's, by default.
func credential(t testing.TB, ccache string) *gssapi.Credential {
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

// do sends a request with an Authorization header, unless that is empty.
func do(t testing.TB, client *http.Client, url, authorization string) *answered {
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
	resp := do(t, c, s.url, "")
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
		resp = do(t, c, s.url, negotiate(first))
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
		do(t, c, s.url, "").want(t, 401, "")
	}
}
