// Package httpauth authenticates HTTP by GSS-API: the scheme Negotiate of RFC 4559.
//
// A client is an http.Client with a Transport, which gives tokens to the hosts that
// it is told to, and to nobody else:
//
//	client := &http.Client{Transport: &httpauth.Transport{
//		Hosts: []httpauth.Host{{Name: "www.example.com"}},
//	}}
//	resp, err := client.Get("https://www.example.com/")
//
// A server is an http.Handler around another one, which asks who the user is:
//
//	h, err := httpauth.NewHandler(next, nil)
//	server := &http.Server{Addr: ":443", Handler: h}
//	err = h.Attach(server)
//	err = server.ListenAndServeTLS(certificate, key)
//
// and in next:
//
//	user := httpauth.FromContext(r.Context())
//	fmt.Fprintln(w, "hello", user.Name)
//
// # What is authenticated
//
// Negotiate authenticates requests, one by one, and protects none of them: whoever
// can change what goes over the connection can change the rest of an authenticated
// request. Use TLS. The tokens are bound to the TLS connection's certificate where
// both ends can (RFC 5929), so that a token that was sent to one server is of no use
// to it at another.
//
// A Handler never takes a connection for authenticated: behind a proxy the next
// request on it may be another user's. So that not every request costs a handshake
// there are sessions, see ServerOptions.Session.
package httpauth
