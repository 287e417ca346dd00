package main

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/httpauth"
)

//go:embed page.html style.css
var files embed.FS

var pages = template.Must(template.ParseFS(files, "page.html"))

// render writes a page, whose status the caller may have written.
func render(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		slog.Error("a page was not made", "page", name, "error", err)
		http.Error(w, "this page was not made", http.StatusInternalServerError)
		return
	}
	w.Write(b.Bytes())
}

// headers are those of every page: what it says is for this visitor alone.
func headers(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'")
}

// visit is what the page shows.
type visit struct {
	*httpauth.Identity
	Mechanism string
	Until     string
	Grants    []string // the flags
	TLS       bool
	Deputy    bool // a credential was delegated
	Said      string
}

// page shows the visitor who he is, and what he has said.
func page(w http.ResponseWriter, r *http.Request) {
	i := httpauth.FromContext(r.Context())
	v := visit{
		Identity: i, Mechanism: mechanism(i.Mech), Until: "for ever", Grants: strings.Split(i.Flags.String(), ","),
		TLS: r.TLS != nil, Deputy: i.Delegated() != nil,
	}
	if !i.Expiry.IsZero() {
		v.Until = i.Expiry.Format("2 January 2006, 15:04:05 MST") + " (in " + time.Until(i.Expiry).Round(time.Second).String() + ")"
	}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "the form cannot be read: "+err.Error(), http.StatusBadRequest)
			return
		}
		v.Said = r.PostForm.Get("say")
	}
	headers(w)
	render(w, "visit", v)
}

// mechanism is its name for people.
func mechanism(oid gssapi.OID) string {
	if m, err := gssapi.DescribeMech(oid); err == nil && m.Name != "" {
		return m.Name + " (" + oid.String() + ")"
	}
	return oid.String()
}

// refused says to people whose browser has not logged in what they can do. It does not
// say why: that is in the log.
func refused(w http.ResponseWriter, r *http.Request, status int, err error) {
	host := r.Host // as the browser calls it
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	headers(w)
	w.WriteHeader(status)
	render(w, "refused", struct {
		Status int
		Reason string
		Tried  bool
		Host   string
	}{status, http.StatusText(status), err != nil, host})
}
