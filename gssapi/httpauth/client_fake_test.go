//go:build unix

package httpauth

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/internal/fakegss"
	"github.com/seed2651813c/gss/internal/testexec"
)

// Contexts of more than one leg, which Kerberos never needs: all of one go over one
// connection, there is an end, and half of a context is none. The library is the
// fake one, whose initiator always wants another leg.
func TestManyLegs(t *testing.T) {
	if os.Getenv("FAKEGSS") == "" {
		if fakegss.NoLoading != "" {
			t.Skip(fakegss.NoLoading)
		}
		lib, err := fakegss.Build(t.TempDir(), nil)
		check(t, err)
		self, err := testexec.Self("-test.run=^TestManyLegs$", "-test.v")
		check(t, err)
		cmd := exec.CommandContext(t.Context(), self.Args[0], self.Args[1:]...)
		cmd.Env = append(os.Environ(), "GSSAPI_LIBRARY="+lib, "GSS_REQUIRE_LIBRARY=", "FAKEGSS=init=continue-forever",
			"FAKEGSS_LOG="+filepath.Join(t.TempDir(), "log"), "ASAN_OPTIONS=detect_leaks=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	n := newInternet(t)
	var sent atomic.Int32
	var peers []string
	var last, closing int32
	var proof string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sent.Add(1)
		peers = append(peers, r.RemoteAddr)
		if s == closing {
			w.Header().Set("Connection", "close")
		}
		switch {
		case s == 1:
			w.Header().Set("WWW-Authenticate", "Negotiate")
			w.WriteHeader(401)
		case s == last:
			if proof != "" {
				w.Header().Set("WWW-Authenticate", proof)
			}
		default:
			w.Header().Set("WWW-Authenticate", "Negotiate b2theQ==")
			w.WriteHeader(401)
		}
	})
	n.serve("www.test:80", h)
	n.serve("www.test:443", h)
	for _, u := range []string{"http://www.test/", "https://www.test/"} {
		for _, test := range []struct {
			name          string
			last, closing int32
			proof         string
			without       bool   // mutual authentication
			words         string // empty: it works
			sent, conns   int32
		}{
			{"endless", 0, 0, "", false, "there is no end to it", maxSent, 1},
			{"closed after the demand", 3, 1, "", true, "", 3, 2},
			{"closed in between", 4, 2, "", true, "closed the connection in the midst of the authentication", 2, 1},
			{"closed later", 5, 4, "", true, "closed the connection in the midst of the authentication", 4, 1},
			{"the end", 5, 0, "", true, "", 5, 1},
			{"the end, unproved", 5, 0, "", false, "has not proved", 5, 1},
			{"the end, and half a proof", 5, 0, "Negotiate b2theQ==", false, "in the midst of the authentication", 5, 1},
			{"the end, and half a proof that is not needed", 5, 0, "Negotiate b2theQ==", true, "in the midst of the authentication", 5, 1},
		} {
			last, closing, proof, peers = test.last, test.closing, test.proof, nil
			sent.Store(0)
			rt := n.transport(Host{Name: "www.test", PlainHTTP: true, WithoutMutual: test.without})
			req, err := http.NewRequestWithContext(t.Context(), "POST", u, strings.NewReader("x"))
			check(t, err)
			_, _, err = do(t, rt, req)
			if test.words != "" {
				wantWords(t, err, test.words)
			} else if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			conns := map[string]bool{}
			for _, p := range peers {
				conns[p] = true
			}
			if sent.Load() != test.sent || len(conns) != int(test.conns) {
				t.Errorf("%s: %d requests over %d connections", test.name, sent.Load(), len(conns))
			}
			rt.CloseIdleConnections()
		}
	}

	// A tunnel's proxy has one leg.
	n.serve("localhost:3128", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Proxy-Authenticate", "Negotiate b2theQ==")
		w.WriteHeader(407)
	}))
	_, _, err := get(t, n.throughProxy([]Host{{Name: "localhost"}}, nil), "https://www.test/")
	wantWords(t, err, "proxy http://localhost:3128 wants more than one token")
	if !errors.Is(err, gssapi.ErrUnavailable) {
		t.Error(err)
	}
}
