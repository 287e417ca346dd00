package httpauth

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed2651813c/gss/gssapi"
)

func randomKey() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

// withCookies asks with cookies alone.
func withCookies(t testing.TB, h http.Handler, url string, cookies ...*http.Cookie) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", url, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// sealedFor is a cookie of alice's.
func sealedFor(t testing.TB, h *Handler, name, host string, expiry time.Time) *http.Cookie {
	t.Helper()
	value, err := h.seals.seal(&Identity{Name: "alice@TEST.GSS", Mech: gssapi.MechKrb5, Flags: gssapi.FlagMutual, Expiry: expiry}, name, host)
	check(t, err)
	return &http.Cookie{Name: name, Value: value}
}

// deleted reports whether a response deletes a cookie, and does nothing else with cookies.
func deleted(resp *http.Response, name string) bool {
	c := resp.Cookies()
	return len(c) == 1 && c[0].Name == name && c[0].MaxAge < 0 && c[0].Value == ""
}

func TestServerSession(t *testing.T) {
	needsLibrary(t)
	for scheme, cookie := range map[string]http.Cookie{
		"http":  {Name: "gss"},
		"https": {Name: "__Host-gss", Secure: true},
	} {
		t.Run(scheme, func(t *testing.T) {
			o := &ServerOptions{Session: new(SessionOptions)}
			var s *site
			var c *http.Client
			if scheme == "http" {
				s, c = serve(t, o), client(t)
			} else {
				h, log := handler(t, whoami, o)
				ts := httptest.NewUnstartedServer(h)
				check(t, h.Attach(ts.Config))
				ts.TLS = ts.Config.TLSConfig
				ts.StartTLS()
				defer ts.Close()
				s, c = &site{h, "", log, ts.URL}, ts.Client()
			}
			a := ask(t, c, s.url, negotiate(token(t, nil)))
			a.want(t, 200, "alice@TEST.GSS Negotiate")
			cookies := a.Cookies()
			if len(cookies) != 1 {
				t.Fatalf("cookies: %v", cookies)
			}
			got := *cookies[0]
			value := got.Value
			got.Value, got.Raw = "", ""
			cookie.Path, cookie.HttpOnly, cookie.SameSite = "/", true, http.SameSiteLaxMode
			if diff := cmp.Diff(cookie, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(s.log.take(), value) {
				t.Error("the cookie is logged")
			}
			r, err := http.NewRequestWithContext(t.Context(), "GET", s.url, nil)
			check(t, err)
			r.AddCookie(cookies[0])
			a = send(t, c, r)
			a.want(t, 200, "alice@TEST.GSS Session none")
			if len(a.Cookies()) != 0 || a.Header.Get("WWW-Authenticate") != "" || a.Header.Get("Cache-Control") != "private" {
				t.Errorf("headers: %q", a.Header)
			}
			if text := s.log.take(); text != "" {
				t.Errorf("logged: %s", text)
			}
			// A token counts more than a cookie, a wrong one too.
			bob := ticketsOf(t, bobTickets)
			r.Header.Set("Authorization", negotiate(token(t, &gssapi.InitiatorOptions{Credential: bob})))
			send(t, c, r).want(t, 200, "bob@TEST.GSS Negotiate")
			r.Header.Set("Authorization", "Negotiate !")
			send(t, c, r).want(t, 401, "")
		})
	}
}

// A session ends with its lifetime, with the context that it is of, and not before.
func TestSessionExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := handler(t, whoami, &ServerOptions{Session: &SessionOptions{Lifetime: 10 * time.Minute}})
		for _, test := range []struct{ context, want time.Duration }{
			{0, 10 * time.Minute}, {time.Hour, 10 * time.Minute}, {5 * time.Minute, 5 * time.Minute},
		} {
			id := &Identity{Name: "alice@TEST.GSS", Mech: gssapi.MechKrb5, Method: MethodNegotiate}
			if test.context != 0 {
				id.Expiry = time.Now().Add(test.context)
			}
			w := httptest.NewRecorder()
			h.begin(w, httptest.NewRequest("GET", "/", nil), id)
			cookie := w.Result().Cookies()[0]
			time.Sleep(test.want - time.Second) // sleep: of the bubble, which does not take time
			if resp := withCookies(t, h, "/", cookie); resp.StatusCode != 200 {
				t.Errorf("%v: before: %d", test, resp.StatusCode)
			}
			time.Sleep(time.Second) // sleep: the same
			if resp := withCookies(t, h, "/", cookie); resp.StatusCode != 401 || !deleted(resp, "gss") {
				t.Errorf("%v: after: %d %q", test, resp.StatusCode, resp.Header)
			}
		}
		if text := log.take(); text != "" {
			t.Errorf("logged: %s", text)
		}
	})
}

// What is no cookie of ours is as if it were not there, and is deleted.
func TestSessionBad(t *testing.T) {
	key := randomKey()
	h, _ := handler(t, whoami, &ServerOptions{Session: &SessionOptions{Keys: [][]byte{key}}})
	other, _ := handler(t, whoami, &ServerOptions{Session: new(SessionOptions)})
	another, _ := handler(t, whoami, &ServerOptions{Session: new(SessionOptions)})
	soon := time.Now().Add(time.Hour)
	good := sealedFor(t, h, "gss", "www.test", soon)
	if resp := withCookies(t, h, "http://www.test/", good); resp.StatusCode != 200 {
		t.Fatalf("the good one: %d", resp.StatusCode)
	}
	bad := map[string]string{
		"of another host":      sealedFor(t, h, "gss", "other.test", soon).Value,
		"of another cookie":    sealedFor(t, h, "__Host-gss", "www.test", soon).Value,
		"of another Handler":   sealedFor(t, other, "gss", "www.test", soon).Value,
		"expired":              sealedFor(t, h, "gss", "www.test", time.Now()).Value,
		"with something after": good.Value + "AA",
		"no base64":            "!" + good.Value,
		"longer than any":      strings.Repeat("A", maxCookie+4),
	}
	for n := range len(good.Value) {
		bad[fmt.Sprintf("cut after %d", n)] = good.Value[:n]
	}
	raw, err := base64.RawURLEncoding.DecodeString(good.Value)
	check(t, err)
	for n := range raw {
		raw[n] ^= 1
		bad[fmt.Sprintf("changed at %d", n)] = base64.RawURLEncoding.EncodeToString(raw)
		raw[n] ^= 1
	}
	for name, value := range bad {
		if resp := withCookies(t, h, "http://www.test/", &http.Cookie{Name: "gss", Value: value}); resp.StatusCode != 401 || !deleted(resp, "gss") {
			t.Errorf("%s: %d %q", name, resp.StatusCode, resp.Header)
		}
	}
	// Keys that nobody gave are not shared.
	if resp := withCookies(t, another, "http://www.test/", sealedFor(t, other, "gss", "www.test", soon)); resp.StatusCode != 401 {
		t.Errorf("of another Handler without keys: %d", resp.StatusCode)
	}
	// A cookie of another site of the domain does not hide the good one.
	if resp := withCookies(t, h, "http://www.test/", &http.Cookie{Name: "gss", Value: "x"}, good); resp.StatusCode != 200 {
		t.Errorf("behind another one: %d", resp.StatusCode)
	}
	// Over TLS the one that came without does not count.
	if resp := withCookies(t, h, "https://www.test/", good); resp.StatusCode != 401 || len(resp.Cookies()) != 0 {
		t.Errorf("over TLS: %d %q", resp.StatusCode, resp.Header)
	}
	// The host is that of the request, in any case and with any port.
	if resp := withCookies(t, h, "http://WWW.test:8080/", good); resp.StatusCode != 200 {
		t.Errorf("with a port: %d", resp.StatusCode)
	}
	// A cookie says no more of an identity than it knows.
	if id := h.seals.open(good.Value, "gss", "www.test"); id.Name != "alice@TEST.GSS" || id.Mech != gssapi.MechKrb5 || id.Flags != gssapi.FlagMutual || id.Method != MethodSession || id.Expiry.Unix() != soon.Unix() {
		t.Errorf("the good one: %v", id.LogValue())
	}
}

// The first key seals, and all open.
func TestSessionKeys(t *testing.T) {
	old, young := randomKey(), randomKey()
	with := func(keys ...[]byte) *Handler {
		h, _ := handler(t, whoami, &ServerOptions{Session: &SessionOptions{Keys: keys}})
		return h
	}
	before, between, after := with(old), with(young, old), with(young)
	for _, test := range []struct {
		seals, opens *Handler
		status       int
	}{{before, between, 200}, {between, after, 200}, {between, before, 401}, {before, after, 401}} {
		cookie := sealedFor(t, test.seals, "gss", "www.test", time.Now().Add(time.Hour))
		if resp := withCookies(t, test.opens, "http://www.test/", cookie); resp.StatusCode != test.status {
			t.Errorf("%d, and it should be %d", resp.StatusCode, test.status)
		}
	}
}

// A name may be too long for a cookie. Then there is none, and the log says so.
func TestSessionTooLong(t *testing.T) {
	h, log := handler(t, whoami, &ServerOptions{Session: new(SessionOptions)})
	for n, fits := range map[int]bool{2500: true, 3500: false} {
		w := httptest.NewRecorder()
		h.begin(w, httptest.NewRequest("GET", "/", nil), &Identity{Name: strings.Repeat("x", n) + "@TEST.GSS", Mech: gssapi.MechKrb5})
		if got := len(w.Result().Cookies()) == 1; got != fits {
			t.Errorf("a name of %d bytes: a cookie %t", n, got)
		}
		if text := log.take(); strings.Contains(text, "longer than browsers take") == fits {
			t.Errorf("logged: %s", text)
		}
	}
}

func TestEndSession(t *testing.T) {
	var h *Handler
	h, _ = handler(t, func(w http.ResponseWriter, r *http.Request) { h.EndSession(w, r) }, &ServerOptions{Session: &SessionOptions{Name: "mine"}})
	for url, name := range map[string]string{"http://www.test/": "mine", "https://www.test/": "__Host-mine"} {
		if resp := withCookies(t, h, url, sealedFor(t, h, name, "www.test", time.Now().Add(time.Hour))); resp.StatusCode != 200 || !deleted(resp, name) {
			t.Errorf("%d %q", resp.StatusCode, resp.Header)
		}
	}
	none, _ := handler(t, whoami, nil)
	w := httptest.NewRecorder()
	none.EndSession(w, httptest.NewRequest("GET", "/", nil))
	if len(w.Result().Cookies()) != 0 {
		t.Error("without sessions it sets a cookie")
	}
}

// Nobody comes in with what he makes up, and what is sealed opens.
func FuzzCookie(f *testing.F) {
	s, err := newSeals(new(SessionOptions))
	check(f, err)
	f.Add("AQ", "gss", "www.test", "alice@TEST.GSS")
	f.Add("", "__Host-gss", "", "a\"\u2028\\")
	f.Fuzz(func(t *testing.T, value, cookie, host, name string) {
		if id := s.open(value, cookie, host); id != nil {
			t.Errorf("%q opens: %v", value, id.LogValue())
		}
		name = strings.ToValidUTF8(name, "?")
		if name == "" || len(name) > 400 {
			return
		}
		sealed, err := s.seal(&Identity{Name: name, Mech: gssapi.MechKrb5, Expiry: time.Now().Add(time.Minute)}, cookie, host)
		if err != nil {
			t.Fatal(err)
		}
		if id := s.open(sealed, cookie, host); id == nil || id.Name != name {
			t.Errorf("%q does not come back: %v", name, id.LogValue())
		}
		if s.open(sealed, cookie+"x", host) != nil || s.open(sealed, cookie, host+"x") != nil {
			t.Error("it opens elsewhere")
		}
	})
}
