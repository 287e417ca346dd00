package gssapi

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http/httptest"
	"testing"
)

// certificate signs itself with that algorithm.
func certificate(t *testing.T, key crypto.Signer, alg x509.SignatureAlgorithm) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"server.test"}, SignatureAlgorithm: alg}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// overTLS connects two ends and returns what each knows of the connection.
func overTLS(t *testing.T, cert tls.Certificate, version uint16) (client, server tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	c := tls.Client(a, &tls.Config{RootCAs: roots, InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	s := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version})
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if version == tls.VersionTLS13 {
		go c.Read(make([]byte, 1)) // the server's session tickets
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState(), s.ConnectionState()
}

func TestTLSServerEndPoint(t *testing.T) {
	ec := ecKey(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for alg, hash := range map[x509.SignatureAlgorithm]func(b []byte) []byte{
		x509.SHA256WithRSA:    func(b []byte) []byte { h := sha256.Sum256(b); return h[:] },
		x509.SHA384WithRSA:    func(b []byte) []byte { h := sha512.Sum384(b); return h[:] },
		x509.SHA512WithRSA:    func(b []byte) []byte { h := sha512.Sum512(b); return h[:] },
		x509.SHA384WithRSAPSS: func(b []byte) []byte { h := sha512.Sum384(b); return h[:] },
		x509.ECDSAWithSHA256:  func(b []byte) []byte { h := sha256.Sum256(b); return h[:] },
		x509.ECDSAWithSHA384:  func(b []byte) []byte { h := sha512.Sum384(b); return h[:] },
		x509.ECDSAWithSHA512:  func(b []byte) []byte { h := sha512.Sum512(b); return h[:] },
	} {
		var key crypto.Signer = rsaKey
		if alg == x509.ECDSAWithSHA256 || alg == x509.ECDSAWithSHA384 || alg == x509.ECDSAWithSHA512 {
			key = ec
		}
		cert := certificate(t, key, alg)
		client, _ := overTLS(t, cert, tls.VersionTLS13)
		theirs, err := TLSServerEndPoint(client.PeerCertificates[0])
		if err != nil {
			t.Fatal(err)
		}
		ours, err := TLSServerEndPoint(cert.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		want := append([]byte("tls-server-end-point:"), hash(cert.Certificate[0])...)
		if !bytes.Equal(theirs.ApplicationData, want) || !bytes.Equal(ours.ApplicationData, want) {
			t.Errorf("%v: %x and %x, want %x", alg, theirs.ApplicationData, ours.ApplicationData, want)
		}
	}
	// MD5 and SHA-1 count as SHA-256. (Such certificates can no longer be made.)
	old := &x509.Certificate{Raw: []byte("a certificate"), SignatureAlgorithm: x509.SHA1WithRSA}
	b, err := TLSServerEndPoint(old)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(old.Raw)
	if want := append([]byte("tls-server-end-point:"), sum[:]...); !bytes.Equal(b.ApplicationData, want) {
		t.Errorf("SHA-1: %x, want %x", b.ApplicationData, want)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, err = TLSServerEndPoint(certificate(t, key, x509.PureEd25519).Leaf)
	wantErr(t, "of Ed25519", err, ErrBadBindings)
	_, err = TLSServerEndPoint(nil)
	wantErr(t, "of nil", err, ErrBadBindings)
}

func TestTLSExporterAndUnique(t *testing.T) {
	cert := certificate(t, ecKey(t), x509.ECDSAWithSHA256)
	for _, c := range []struct {
		name    string
		make    func(*tls.ConnectionState) (*ChannelBindings, error)
		prefix  string
		version uint16
	}{
		{"exporter", TLSExporter, "tls-exporter:", tls.VersionTLS13},
		{"exporter, TLS 1.2", TLSExporter, "tls-exporter:", tls.VersionTLS12},
		{"unique", TLSUnique, "tls-unique:", tls.VersionTLS12},
	} {
		var seen []byte
		for range 2 {
			client, server := overTLS(t, cert, c.version)
			theirs, err := c.make(&client)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			ours, err := c.make(&server)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if !bytes.Equal(theirs.ApplicationData, ours.ApplicationData) {
				t.Errorf("%s: the ends differ", c.name)
			}
			if !bytes.HasPrefix(ours.ApplicationData, []byte(c.prefix)) || len(ours.ApplicationData) < len(c.prefix)+12 {
				t.Errorf("%s: %q", c.name, ours.ApplicationData)
			}
			if bytes.Equal(seen, ours.ApplicationData) {
				t.Errorf("%s: two connections have the same", c.name)
			}
			seen = ours.ApplicationData
		}
		_, err := c.make(nil)
		wantErr(t, c.name+" of nil", err, ErrBadBindings)
		_, err = c.make(new(tls.ConnectionState))
		wantErr(t, c.name+" before the handshake", err, ErrBadBindings)
		_, err = c.make(httptest.NewRequest("GET", "https://server.test/", nil).TLS)
		wantErr(t, c.name+" of no connection", err, ErrBadBindings)
	}
	client, _ := overTLS(t, cert, tls.VersionTLS13)
	_, err := TLSUnique(&client)
	wantErr(t, "unique with TLS 1.3", err, ErrBadBindings)
}

// Both ends bind to their own view of the connection; a man in the middle has
// another.
func TestTLSBindingsProtect(t *testing.T) {
	needsHandshake(t)
	cert := certificate(t, ecKey(t), x509.ECDSAWithSHA256)
	client, server := overTLS(t, cert, tls.VersionTLS13)
	relayed, _ := overTLS(t, cert, tls.VersionTLS13)
	bind := func(s *tls.ConnectionState) *ChannelBindings {
		b, err := TLSExporter(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	i, a := pair(t, &InitiatorOptions{Bindings: bind(&client)}, &AcceptorOptions{Bindings: bind(&server)})
	exchange(t, i, a)
	i, a = contexts(t, &InitiatorOptions{Bindings: bind(&relayed)}, &AcceptorOptions{Bindings: bind(&server)})
	wantErr(t, "relayed", handshake(i, a, nil), ErrBadBindings)
}
