package httpauth

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// What a request costs that the server answers at once, by how its sender is known.
func BenchmarkHandler(b *testing.B) {
	needsLibrary(b)
	h, err := NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), &ServerOptions{Session: new(SessionOptions)})
	check(b, err)
	run := func(b *testing.B, header, value string) {
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.Header.Set(header, value)
		b.ReportAllocs()
		for b.Loop() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 200 {
				b.Fatalf("%d %s", w.Code, w.Body)
			}
		}
	}
	b.Run("token", func(b *testing.B) {
		b.Setenv("KRB5RCACHENAME", "none:") // of MIT, which writes to the disk for each token
		cred, err := gssapi.Acquire(b.Context(), &gssapi.CredentialOptions{Usage: gssapi.Accept})
		check(b, err)
		defer cred.Close()
		h.o.Acceptor = &gssapi.AcceptorOptions{Credential: cred}
		run(b, "Authorization", negotiate(token(b, nil)))
	})
	b.Run("cookie", func(b *testing.B) {
		run(b, "Cookie", sealedFor(b, h, "gss", "localhost", time.Now().Add(time.Hour)).String())
	})
}
