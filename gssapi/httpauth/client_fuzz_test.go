package httpauth

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A server, or somebody in its place, answers what he likes: nothing crashes or stays,
// and no answer to a token is returned, as none of them proves anything.
func FuzzResponse(f *testing.F) {
	needsLibrary(f)
	const demand = "HTTP/1.1 401 x\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n"
	for _, s := range []string{
		demand,
		demand + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
		demand + "HTTP/1.1 200 OK\r\nWWW-Authenticate: Negotiate oQcwBaADCgEA\r\n\r\nhi",
		demand + "HTTP/1.1 401 x\r\nWWW-Authenticate: Negotiate oQcwBaADCgEA\r\nContent-Length: 0\r\n\r\n" + demand,
		demand + "HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		demand + "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\n\r\nHTTP/1.1 401 x\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\n\r\n",
		"HTTP/1.1 401 x\r\nWWW-Authenticate: Basic, Negotiate ====\r\n\r\n", "junk", "",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, answers []byte, long bool) {
		var tokens atomic.Int32
		left := bytes.NewReader(answers)
		lock := make(chan struct{}, 1)
		rt := &Transport{
			Hosts: []Host{{Name: "www.test", PlainHTTP: true}}, MaxBody: 10,
			Base: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go func() {
					defer server.Close()
					lock <- struct{}{}
					defer func() { <-lock }()
					// Each answer has a connection of its own, as net.Pipe has no half of one.
					r := bufio.NewReader(server)
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if req.Header.Get("Authorization") != "" {
						tokens.Add(1)
					}
					b, _ := io.ReadAll(left)
					end := len(b)
					if n := bytes.Index(b[min(1, end):], []byte("HTTP/1.1 ")); n >= 0 {
						end = n + 1
					}
					left.Reset(b[end:])
					go io.Copy(io.Discard, r)
					server.Write(b[:end])
				}()
				return client, nil
			}},
		}
		defer rt.CloseIdleConnections()
		body := &closing{Reader: strings.NewReader(strings.Repeat("b", map[bool]int{false: 5, true: 5000}[long]))}
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://www.test/", body)
		check(t, err)
		resp, err := rt.RoundTrip(req)
		if err == nil {
			if tokens.Load() > 0 {
				t.Errorf("%d is returned as the answer to a token", resp.StatusCode)
			}
			if resp.StatusCode != http.StatusSwitchingProtocols {
				io.Copy(io.Discard, resp.Body)
			}
			resp.Body.Close()
		}
		body.wantClosed(t)
	})
}
