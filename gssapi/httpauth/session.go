package httpauth

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// DefaultSessionLifetime is how long a session lasts if the options do not say.
const DefaultSessionLifetime = time.Hour

// SessionOptions are about cookies that stand for an authentication. A cookie is sealed
// (AES-256-GCM) and has who the user is, by what and until when. It is for the host that
// it was made at, whatever the port, and expires with Lifetime or with the context, whatever
// is earlier. It is HttpOnly, SameSite=Lax, and Secure where the request came over TLS; then
// its name begins with __Host-. Whoever has a cookie is the user until it expires: there is no
// way to take it back but other Keys. A delegated credential comes with no cookie, and a
// password that came without TLS makes none.
type SessionOptions struct {
	// Keys of 32 random bytes each: the first seals, all open, so that servers can share
	// keys and change them. None: a random key of this Handler, whose sessions end with it.
	Keys [][]byte
	// Lifetime of a session; 0 is DefaultSessionLifetime.
	Lifetime time.Duration
	// Name of the cookie, without __Host-; empty is "gss".
	Name string
}

const (
	// cookieVersion begins what is sealed.
	cookieVersion = 1
	// maxCookie is the length of the longest cookie that browsers keep, with its attributes.
	maxCookie = 4096
	// hostPrefix makes browsers keep a cookie to the host that set it over TLS.
	hostPrefix = "__Host-"
)

// seals seals sessions.
type seals struct {
	aeads    []cipher.AEAD // with random nonces
	lifetime time.Duration
	name     string
}

func newSeals(o *SessionOptions) (*seals, error) {
	s := &seals{lifetime: o.Lifetime, name: o.Name}
	if s.lifetime == 0 {
		s.lifetime = DefaultSessionLifetime
	}
	if s.lifetime < 0 {
		return nil, fmt.Errorf("httpauth: Session.Lifetime is %v: it must not be negative", s.lifetime)
	}
	if s.name == "" {
		s.name = "gss"
	}
	if err := (&http.Cookie{Name: s.name}).Valid(); err != nil || strings.HasPrefix(s.name, "__") {
		return nil, fmt.Errorf("httpauth: Session.Name is %q: take letters, digits, - and _, and no prefix of browsers'", s.name)
	}
	keys := o.Keys
	if len(keys) == 0 {
		keys = [][]byte{make([]byte, 32)}
		rand.Read(keys[0])
	}
	for n, key := range keys {
		if len(key) != 32 || bytes.Count(key, key[:1]) == len(key) {
			return nil, fmt.Errorf("httpauth: Session.Keys[%d] has %d bytes, or all the same: take 32 random bytes", n, len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		s.aeads = append(s.aeads, aead)
	}
	return s, nil
}

// sealed is what a cookie has.
type sealed struct {
	Name   string       `json:"name"`
	Mech   string       `json:"mech"`
	Flags  gssapi.Flags `json:"flags"`
	Expiry int64        `json:"expiry"` // seconds since 1970
}

// data ties a sealed value to its cookie's name and to the host.
func data(cookie, host string) []byte {
	return []byte(string(rune(cookieVersion)) + cookie + "\x00" + host)
}

// hostOf is the host that a request names.
func hostOf(r *http.Request) string {
	return strings.ToLower((&url.URL{Host: r.Host}).Hostname())
}

// seal makes the value of a cookie.
func (s *seals) seal(id *Identity, cookie, host string) (string, error) {
	plain, err := json.Marshal(sealed{id.Name, id.Mech.String(), id.Flags, id.Expiry.Unix()})
	if err != nil {
		return "", err
	}
	b := s.aeads[0].Seal([]byte{cookieVersion}, nil, plain, data(cookie, host))
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// open is the reverse of seal; nil if the value is not of ours, or not any more.
func (s *seals) open(value, cookie, host string) *Identity {
	if len(value) > maxCookie {
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(b) == 0 || b[0] != cookieVersion {
		return nil
	}
	for _, aead := range s.aeads {
		plain, err := aead.Open(nil, nil, b[1:], data(cookie, host))
		if err != nil {
			continue
		}
		var c sealed
		if json.Unmarshal(plain, &c) != nil || c.Name == "" {
			return nil
		}
		mech, err := gssapi.ParseOID(c.Mech)
		id := &Identity{Name: c.Name, Mech: mech, Flags: c.Flags, Expiry: time.Unix(c.Expiry, 0), Method: MethodSession}
		if err != nil || !time.Now().Before(id.Expiry) {
			return nil
		}
		return id
	}
	return nil
}

// cookie for a response to r.
func (h *Handler) cookie(r *http.Request) *http.Cookie {
	c := &http.Cookie{Name: h.seals.name, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if h.secure(r) {
		c.Name, c.Secure = hostPrefix+c.Name, true
	}
	return c
}

// begin gives the client a cookie.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, id *Identity) {
	c := h.cookie(r)
	if id.Method == MethodBasic && !c.Secure {
		return
	}
	session := &Identity{Name: id.Name, Mech: id.Mech, Flags: id.Flags, Expiry: time.Now().Add(h.seals.lifetime)}
	if !id.Expiry.IsZero() && id.Expiry.Before(session.Expiry) {
		session.Expiry = id.Expiry
	}
	var err error
	c.Value, err = h.seals.seal(session, c.Name, hostOf(r))
	if err == nil && len(c.String()) > maxCookie {
		err = errors.New("the cookie is longer than browsers take")
	}
	if err != nil {
		h.log.LogAttrs(r.Context(), slog.LevelWarn, "no session", slog.Any("user", id), slog.String("error", err.Error()))
		return
	}
	http.SetCookie(w, c)
}

// resume finds a session. A cookie that is none is deleted.
func (h *Handler) resume(w http.ResponseWriter, r *http.Request) *Identity {
	c := h.cookie(r)
	cookies := r.CookiesNamed(c.Name)
	for _, found := range cookies {
		if id := h.seals.open(found.Value, c.Name, hostOf(r)); id != nil {
			return id
		}
	}
	if len(cookies) > 0 {
		h.EndSession(w, r)
	}
	return nil
}

// EndSession deletes the client's cookie: it is for a page where users log out. A browser
// that has a ticket logs in again when it is asked to. Call it before the response is
// written. Without ServerOptions.Session it does nothing.
func (h *Handler) EndSession(w http.ResponseWriter, r *http.Request) {
	if h.seals == nil {
		return
	}
	c := h.cookie(r)
	c.MaxAge = -1
	http.SetCookie(w, c)
}
