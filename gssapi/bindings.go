package gssapi

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// TLSServerEndPoint makes the bindings of type tls-server-end-point from the
// server's certificate: a client takes the first of
// tls.ConnectionState.PeerCertificates, a server the leaf that it has sent on
// this connection. It works with every version of TLS, and behind a proxy that
// has the server's certificate. RFC 5929, 4.
//
// The hash is that of the certificate's signature, SHA-256 in place of MD5 and
// SHA-1. The error is ErrBadBindings for a certificate whose signature has no hash
// of its own (Ed25519), for which RFC 5929 defines no bindings.
func TLSServerEndPoint(cert *x509.Certificate) (*ChannelBindings, error) {
	const op = "TLSServerEndPoint"
	if cert == nil || len(cert.Raw) == 0 {
		return nil, refuse(op, ErrBadBindings, "there is no certificate: is the TLS handshake complete?")
	}
	var hash crypto.Hash
	switch cert.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.DSAWithSHA256, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS:
		hash = crypto.SHA256
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		hash = crypto.SHA512
	default:
		return nil, refuse(op, ErrBadBindings, "the certificate is signed with %v, for which RFC 5929 defines no bindings of type tls-server-end-point", cert.SignatureAlgorithm)
	}
	h := hash.New()
	h.Write(cert.Raw)
	return &ChannelBindings{ApplicationData: h.Sum([]byte("tls-server-end-point:"))}, nil
}

// TLSExporter makes the bindings of type tls-exporter of a connection, which are
// unique to it. It takes TLS 1.3, or TLS 1.2 with extended master secrets; else,
// and before the handshake is complete, the error is ErrBadBindings. RFC 9266.
func TLSExporter(state *tls.ConnectionState) (*ChannelBindings, error) {
	const op = "TLSExporter"
	if state == nil || !state.HandshakeComplete {
		return nil, refuse(op, ErrBadBindings, "the TLS handshake is not complete")
	}
	key, err := exported(state)
	if err != nil {
		return nil, refuse(op, ErrBadBindings, "%v", err)
	}
	return &ChannelBindings{ApplicationData: append([]byte("tls-exporter:"), key...)}, nil
}

// exported is the key of RFC 9266, 4.2. A state that no connection has told, such
// as that of net/http/httptest's requests, panics.
func exported(state *tls.ConnectionState) (key []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("this is not the state of a connection of crypto/tls")
		}
	}()
	return state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
}

// TLSUnique makes the bindings of type tls-unique of a connection. They are for
// peers that know no others: TLS 1.3 has none, nor has a connection of TLS 1.2
// that was resumed without extended master secrets; then the error is
// ErrBadBindings. RFC 5929, 3.
func TLSUnique(state *tls.ConnectionState) (*ChannelBindings, error) {
	const op = "TLSUnique"
	if state == nil || !state.HandshakeComplete {
		return nil, refuse(op, ErrBadBindings, "the TLS handshake is not complete")
	}
	if len(state.TLSUnique) == 0 {
		return nil, refuse(op, ErrBadBindings, "a connection of %s has no tls-unique here: use TLSExporter or TLSServerEndPoint", tls.VersionName(state.Version))
	}
	return &ChannelBindings{ApplicationData: append([]byte("tls-unique:"), state.TLSUnique...)}, nil
}
