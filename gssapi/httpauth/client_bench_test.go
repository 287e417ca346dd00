package httpauth

import (
	"io"
	"net/http"
	"testing"
)

// BenchmarkRoundTrip is a request to a server in this process over a connection that
// is there: without authentication, with the token that the server demands, and with
// one that is sent unasked. What the server's side takes is in the figures.
func BenchmarkRoundTrip(b *testing.B) {
	needsLibrary(b)
	n := newInternet(b)
	n.serve("www.test:80", &gate{t: b})
	n.serve("open.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, alice) }))
	host := Host{Name: "www.test", PlainHTTP: true}
	unasked := host
	unasked.Preemptive = true
	for _, bench := range []struct {
		name, url string
		rt        http.RoundTripper
	}{
		{"without", "http://open.test/", n.base()},
		{"stranger", "http://open.test/", n.transport(host)},
		{"asked", "http://www.test/", n.transport(host)},
		{"preemptive", "http://www.test/", n.transport(unasked)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if status, body, err := get(b, bench.rt, bench.url); status != 200 || body != alice || err != nil {
					b.Fatalf("%d, %q, %v", status, body, err)
				}
			}
		})
	}
}
