package httpauth_test

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"slices"

	"github.com/seed2651813c/gss/gssapi/httpauth"
)

// A site for two users, over TLS. Each proves once in an hour who he is.
func ExampleHandler() {
	pages := http.NewServeMux()
	pages.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		user := httpauth.FromContext(r.Context())
		fmt.Fprintln(w, "hello", user.Name)
	})
	h, err := httpauth.NewHandler(pages, &httpauth.ServerOptions{
		Session: &httpauth.SessionOptions{},
		Authorize: func(_ *http.Request, user *httpauth.Identity) error {
			if !slices.Contains([]string{"alice@EXAMPLE.COM", "bob@EXAMPLE.COM"}, user.Name) {
				return errors.New("not one of us")
			}
			return nil
		},
		Logger: slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: ":443", Handler: h}
	if err := h.Attach(server); err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.ListenAndServeTLS("/etc/ssl/www.pem", "/etc/ssl/www.key"))
}
