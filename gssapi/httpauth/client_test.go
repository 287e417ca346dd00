package httpauth

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const alice = "alice@TEST.GSS"

func wantAlice(t testing.TB, status int, body string, err error) {
	t.Helper()
	if status != 200 || body != alice || err != nil {
		t.Errorf("%d, %q, %v", status, body, err)
	}
}

func wantLog(t testing.TB, g *gate, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, g.requests()); diff != "" {
		t.Error("requests:", diff)
	}
}

// With and without TLS, asked and unasked, over one connection.
func TestRoundTrip(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	n.serve("www.test:80", g)
	g.bound = &n.serve("www.test:443", g).TLS.Certificates[0]
	for _, scheme := range []string{"http", "https"} {
		for _, preemptive := range []bool{false, true} {
			rt := n.transport(Host{Name: "www.test", PlainHTTP: true, Preemptive: preemptive})
			for range 3 {
				status, body, err := get(t, rt, scheme+"://www.test/x")
				wantAlice(t, status, body, err)
				if preemptive {
					wantLog(t, g, "GET /x token")
				} else {
					wantLog(t, g, "GET /x -", "GET /x token")
				}
			}
		}
	}
	if a, b := n.dialled("www.test:80"), n.dialled("www.test:443"); a != 2 || b != 2 {
		t.Errorf("%d and %d connections for two Transports each", a, b)
	}
}
