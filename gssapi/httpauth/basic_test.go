package httpauth

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// withPassword asks with a name and a password.
func withPassword(t testing.TB, c *http.Client, url, user, password string) *answered {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	check(t, err)
	r.SetBasicAuth(user, password)
	return send(t, c, r)
}

func TestBasic(t *testing.T) {
	needsLibrary(t)
	var acquired atomic.Int32
	h, log := handler(t, whoami, &ServerOptions{
		Session: new(SessionOptions), Basic: &BasicOptions{Realm: `a "b" \c`, Service: "HTTP@localhost", KerberosRealms: []string{"OTHER.GSS", "TEST.GSS"}},
		Acceptor: &gssapi.AcceptorOptions{Trace: &gssapi.Trace{Acquired: func(gssapi.Event) { acquired.Add(1) }}},
	})
	ts := httptest.NewUnstartedServer(h)
	check(t, h.Attach(ts.Config))
	ts.TLS = ts.Config.TLSConfig
	ts.StartTLS()
	defer ts.Close()
	c := ts.Client()
	a := ask(t, c, ts.URL, "")
	a.want(t, 401, "")
	challenges := a.Header.Values("WWW-Authenticate")
	if !slices.Equal(challenges, []string{"Negotiate", `Basic realm="a \"b\" \\c", charset="UTF-8"`}) {
		t.Errorf("challenges: %q", challenges)
	}
	for _, user := range []string{"carol", "carol@TEST.GSS"} {
		a = withPassword(t, c, ts.URL, user, carolPassword)
		a.want(t, 200, "carol@TEST.GSS Basic")
		if len(a.Cookies()) != 1 || acquired.Swap(0) != 1 {
			t.Errorf("cookies: %v", a.Cookies())
		}
		if text := log.take(); !strings.Contains(text, "carol@TEST.GSS") || strings.Contains(text, carolPassword) {
			t.Errorf("logged: %s", text)
		}
	}
	const wrong = "wrong, and secret"
	for _, user := range []string{"carol", "nobody", "alice"} {
		a = withPassword(t, c, ts.URL, user, wrong)
		a.want(t, 401, "Unauthorized")
		if !slices.Equal(challenges, a.Header.Values("WWW-Authenticate")) || len(a.Cookies()) != 0 {
			t.Errorf("headers: %q", a.Header)
		}
		if record := logged(t, log, "WARN", "Basic"); record != nil && strings.Contains(record["error"].(string), wrong) {
			t.Errorf("the log has the password: %v", record)
		}
	}
	for name, test := range map[string][2]string{
		"a service":           {"HTTP/localhost", carolPassword},
		"an escape":           {`ca\rol`, carolPassword},
		"another realm":       {"carol@THIRD.GSS", carolPassword},
		"an empty realm":      {"carol@", carolPassword},
		"two realms":          {"carol@TEST.GSS@TEST.GSS", carolPassword},
		"no name":             {"", carolPassword},
		"only a realm":        {"@TEST.GSS", carolPassword},
		"no password":         {"carol", ""},
		"NUL in the name":     {"carol\x00", carolPassword},
		"NUL in the password": {"carol", carolPassword + "\x00"},
		"a line":              {"carol\nx", carolPassword},
		"no UTF-8":            {"carol\xff", carolPassword},
		"a long name":         {strings.Repeat("c", 5000), carolPassword},
		"a long password":     {"carol", strings.Repeat("c", 5000)},
	} {
		acquired.Store(0)
		withPassword(t, c, ts.URL, test[0], test[1]).want(t, 401, "")
		if acquired.Load() != 0 {
			t.Errorf("%s: the library is asked", name)
		}
		logged(t, log, "WARN", "httpauth: Basic: the name")
	}
	for _, authorization := range []string{"Basic", "Basic !", "basic Y2Fyb2w="} {
		ask(t, c, ts.URL, authorization).want(t, 401, "")
		logged(t, log, "WARN", "without a name and a password")
	}
}

// The service's name may be the request's, of whose services a client cannot choose one
// whose key is not the server's.
func TestBasicHost(t *testing.T) {
	needsLibrary(t)
	s := serve(t, &ServerOptions{Session: new(SessionOptions), Basic: &BasicOptions{PlainHTTP: true}})
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.url, nil)
	check(t, err)
	r.SetBasicAuth("carol", carolPassword)
	r.Host = "www.test:80"
	a := send(t, client(t), r)
	a.want(t, 200, "carol@TEST.GSS Basic")
	if len(a.Cookies()) != 0 {
		t.Errorf("a password without TLS makes a session: %v", a.Cookies())
	}
	s.log.take()
	for host, text := range map[string]string{"other.test": "other.test", "nowhere.test": "nowhere.test", "www.test@other.test": "give a service such as HTTP, and a host name"} {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.SetBasicAuth("carol", carolPassword)
		r.Host = host
		s.h.ServeHTTP(w, r)
		if w.Code != 401 {
			t.Errorf("%s: %d", host, w.Code)
		}
		logged(t, s.log, "WARN", text)
	}
}

// Without TLS passwords are neither asked for nor looked at.
func TestBasicPlain(t *testing.T) {
	needsLibrary(t)
	s := serve(t, &ServerOptions{Basic: new(BasicOptions)})
	c := client(t)
	if got := ask(t, c, s.url, "").Header.Values("WWW-Authenticate"); !slices.Equal(got, []string{"Negotiate"}) {
		t.Errorf("challenges: %q", got)
	}
	withPassword(t, c, s.url, "carol", carolPassword).want(t, 401, "")
	logged(t, s.log, "WARN", "a password came without TLS")
	ask(t, c, s.url, negotiate(token(t, nil))).want(t, 200, "alice@TEST.GSS")
	// Where Basic is not on, it is a scheme like any other.
	s = serve(t, nil)
	withPassword(t, c, s.url, "carol", carolPassword).want(t, 401, "")
	if text := s.log.take(); text != "" {
		t.Errorf("logged: %s", text)
	}
}

// What is wrong with the server, or the KDC, is no client's fault.
func TestBasicFaults(t *testing.T) {
	needsLibrary(t)
	s := serve(t, &ServerOptions{Basic: &BasicOptions{PlainHTTP: true, Service: "HTTP@nowhere.test"}})
	c := client(t)
	withPassword(t, c, s.url, "carol", carolPassword).want(t, 503, "")
	logged(t, s.log, "ERROR", "nowhere.test")

	s = serve(t, &ServerOptions{Basic: &BasicOptions{PlainHTTP: true, Service: "HTTP@localhost"}})
	t.Run("no keytab", func(t *testing.T) {
		t.Setenv("KRB5_KTNAME", "/nonexistent/keytab")
		withPassword(t, c, s.url, "carol", carolPassword).want(t, 503, "")
		logged(t, s.log, "ERROR", "KRB5_KTNAME")
	})
	t.Run("no KDC", func(t *testing.T) {
		check(t, realm.StopKDC())
		defer func() { check(t, realm.StartKDC()) }()
		withPassword(t, c, s.url, "carol", carolPassword).want(t, 503, "")
		logged(t, s.log, "ERROR", "KDC")
	})
	withPassword(t, c, s.url, "carol", carolPassword).want(t, 200, "carol@TEST.GSS")
}

// Who plays the KDC knows every password, and not the server's key.
func TestBasicFakeKDC(t *testing.T) {
	needsLibrary(t)
	if os.Getenv(fakeVariable) == "" {
		// A server that has the keytab of its realm, and asks another KDC.
		fake := gsstest.New(t, &gsstest.Options{Principals: []string{"HTTP/localhost"}, Passwords: map[string]string{"carol": "of the attacker"}})
		child(t, "TestBasicFakeKDC", fakeVariable+"="+fake.Krb5Conf())
		return
	}
	s := serve(t, &ServerOptions{Basic: &BasicOptions{PlainHTTP: true, Service: "HTTP@localhost"}})
	withPassword(t, client(t), s.url, "carol", "of the attacker").want(t, 401, "")
	logged(t, s.log, "WARN", "the proof that the KDC has the key of")
}
