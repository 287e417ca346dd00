// Package conn proves [gssapi.Conn] against what others have made: the tests of
// golang.org/x/net for a net.Conn, and peers in Python and C that know nothing of
// this module but the wire format.
package conn
