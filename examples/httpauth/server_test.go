package httpauth

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed2651813c/gss/gssapi/httpauth"
)

// server is one of ours.
type server struct {
	port string
	log  lockedBuffer // the Handler's

	mu     sync.Mutex
	tokens []bool // of each request: it had an Authorization header
}

// requests tells of each request so far whether it had a token.
func (s *server) requests() []bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tokens)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// serve starts a server for the rest of the test.
func serve(t *testing.T, secure bool, o *httpauth.ServerOptions, next http.HandlerFunc) *server {
	t.Helper()
	s := new(server)
	o.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	h, err := httpauth.NewHandler(next, o)
	check(t, err)
	hs := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			s.tokens = append(s.tokens, r.Header.Get("Authorization") != "")
			s.mu.Unlock()
			h.ServeHTTP(w, r)
		}),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate.Certificate}},
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelError),
	}
	check(t, h.Attach(hs))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s.port = portOf(l.Addr().String())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if secure {
			hs.ServeTLS(l, "", "")
		} else {
			hs.Serve(l)
		}
	}()
	t.Cleanup(func() {
		hs.Close()
		<-done
		if t.Failed() {
			t.Logf("server:\n%s", &s.log)
		}
	})
	return s
}

// tell answers with who the client is, how that is known, and the hash of the body.
func tell(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	if _, err := io.Copy(hash, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	i := httpauth.FromContext(r.Context())
	fmt.Fprintf(w, "user: %s\nmethod: %s\ndelegated: %t\nbody: %x\n", i.Name, i.Method, i.Delegated() != nil, hash.Sum(nil))
}

// big is a body, and the line that servers have of it.
func big(size int) (body []byte, line string) {
	body = make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(body)
	return body, fmt.Sprintf("body: %x", sha256.Sum256(body))
}

// bigFile is one of a mebibyte, and that line.
func bigFile(t *testing.T) (file, line string) {
	t.Helper()
	body, line := big(1 << 20)
	file = filepath.Join(t.TempDir(), "body")
	check(t, os.WriteFile(file, body, 0o600))
	return file, line
}

// has fails the test if some of the lines are not in text.
func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\n"+text, "\n"+l) {
			t.Errorf("there is no line %q in:\n%s", l, text)
		}
	}
}
