// Package sasl has the SASL mechanisms of GSS-API: GSSAPI (RFC 4752), GS2-KRB5 and
// GS2-KRB5-PLUS (RFC 5801), and GSS-SPNEGO as Microsoft and Cyrus SASL do it.
//
// A Client is one authentication, and a Server too. Their methods are those of
// github.com/emersion/go-sasl; Mechanism fits github.com/twmb/franz-go and
// github.com/segmentio/kafka-go. None of these is imported.
//
//	target, err := gssapi.HostService("imap", "mail.example.com")
//	err = imapClient.Authenticate(sasl.NewClient(target, nil))
//
// # Security layers
//
// The mechanisms GSSAPI and GSS-SPNEGO can protect the rest of the connection.
// Which layers an end takes, its options say; of those that both take the client
// uses the strongest. Nobody on the way can change what is offered, as the offer is
// signed. The zero value is LayerNone: authentication alone, for connections with
// TLS. Who asks for a layer calls Conn when the exchange is done, and goes on with
// what that returns; else the exchange fails in the end, rather than go on in the
// clear.
package sasl
