package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	gosasl "github.com/emersion/go-sasl"
	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/gssapi/sasl"
	"github.com/seed2651813c/gss/gssapi/sasl/kafka"
	segment "github.com/segmentio/kafka-go"
	segmentsasl "github.com/segmentio/kafka-go/sasl"
	"github.com/twmb/franz-go/pkg/kgo"
	franzsasl "github.com/twmb/franz-go/pkg/sasl"
)

// That the types fit.
var (
	_ gosasl.Client            = (*sasl.Client)(nil)
	_ gosasl.Server            = (*sasl.Server)(nil)
	_ franzsasl.Mechanism      = (*sasl.Mechanism[franzsasl.Session])(nil)
	_ franzsasl.Session        = (*sasl.Session)(nil)
	_ segmentsasl.Mechanism    = (*sasl.Mechanism[segmentsasl.StateMachine])(nil)
	_ segmentsasl.StateMachine = (*sasl.Session)(nil)
)

var testRealm *gsstest.Realm

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		testRealm, err = realm.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer testRealm.Close()
	err = testRealm.AddPrincipal("kafka/"+realm.Host, "kafka/stranger.test")
	keytab, e := testRealm.Keytab("kafka/" + realm.Host)
	if err = errors.Join(err, e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv("KRB5_KTNAME", "FILE:"+keytab)
	os.Setenv("KRB5RCACHENAME", "none:")
	return m.Run()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// broker knows the requests ApiVersions, SaslHandshake, SaslAuthenticate, and Metadata,
// which it answers to who has authenticated.
type broker struct {
	addr string
	mech string
	liar bool // says that everyone has authenticated, and proves nothing

	mu    sync.Mutex
	users []string // whom it has answered Metadata, or ApiVersions after authentication
}

func newBroker(t *testing.T, mech string, config *tls.Config) *broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	if config != nil {
		l = tls.NewListener(l, config)
	}
	b := &broker{addr: l.Addr().String(), mech: mech}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				if err := b.serve(c); err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Logf("broker: %v", err)
				}
			})
		}
	})
	return b
}

func (b *broker) serve(c net.Conn) error {
	var server *sasl.Server
	user := ""
	for {
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(head[:])
		if n < 10 || n > 1<<20 {
			return fmt.Errorf("a request of %d bytes", n)
		}
		req := make([]byte, n)
		if _, err := io.ReadFull(c, req); err != nil {
			return err
		}
		key, version, body := binary.BigEndian.Uint16(req), binary.BigEndian.Uint16(req[2:]), req[8:]
		if id := int16(binary.BigEndian.Uint16(body)); id > 0 {
			body = body[id:]
		}
		body = body[2:]
		out := req[4:8:8] // which request it was
		switch key {
		case 18: // ApiVersions
			if version > 0 {
				out = append(out, 0, 35, 0, 0, 0, 0) // another version, please
				break
			}
			out = append(out, 0, 0, 0, 0, 0, 4)
			for _, v := range [][3]byte{{3, 0, 0}, {17, 0, 1}, {18, 0, 0}, {36, 0, 0}} {
				out = append(out, 0, v[0], 0, v[1], 0, v[2])
			}
			b.asked(user)
		case 17: // SaslHandshake
			mech := string(body[2:])
			if mech != b.mech {
				out = append(out, 0, 33)
			} else {
				out = append(out, 0, 0)
				server = sasl.NewServer(&sasl.ServerOptions{Mechanism: mech})
			}
			out = append(out, 0, 0, 0, 1, 0, byte(len(b.mech)))
			out = append(out, b.mech...)
		case 36: // SaslAuthenticate
			if server == nil {
				return errors.New("SaslAuthenticate before SaslHandshake")
			}
			if b.liar {
				user = "anybody"
				out = append(out, 0, 0, 0xff, 0xff, 0, 0, 0, 0)
				break
			}
			challenge, done, err := server.Next(body[4:])
			if err != nil {
				const text = "Authentication failed"
				out = append(append(append(out, 0, 58, 0, byte(len(text))), text...), 0, 0, 0, 0)
				server = nil
				break
			}
			if done {
				user = server.AuthzID()
			}
			out = binary.BigEndian.AppendUint32(append(out, 0, 0, 0xff, 0xff), uint32(len(challenge)))
			out = append(out, challenge...)
		case 3: // Metadata: no brokers, no topics
			if user == "" {
				return errors.New("Metadata before authentication")
			}
			b.asked(user)
			out = append(out, make([]byte, 8)...)
		default:
			return fmt.Errorf("request %d", key)
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(out))), out...)); err != nil {
			return err
		}
	}
}

func (b *broker) asked(user string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if user != "" {
		b.users = append(b.users, user)
	}
}

// client has one of the modules connect to service@host, and ask something.
type client func(ctx context.Context, t *testing.T, addr, host string) error

var clients = map[string]client{"franz-go": franz, "kafka-go": segmentio, "sarama": ibm}

// port of addr, at host.
func at(addr, host string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(host, port)
}

// to dials addr, whatever it is asked for.
func to(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
}

func franz(ctx context.Context, t *testing.T, addr, host string) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(at(addr, host)), kgo.Dialer(to(addr)), kgo.RequestRetries(0), kgo.AllowAutoTopicCreation(),
		kgo.SASL(&sasl.Mechanism[franzsasl.Session]{Service: "kafka"}))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ping(ctx)
}

func segmentio(ctx context.Context, t *testing.T, addr, host string) error {
	d := segment.Dialer{DialFunc: to(addr), SASLMechanism: &sasl.Mechanism[segmentsasl.StateMachine]{
		Service: "kafka",
		Host:    func(ctx context.Context) string { return segmentsasl.MetadataFromContext(ctx).Host },
	}}
	c, err := d.DialContext(ctx, "tcp", at(addr, host))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.ApiVersions()
	return err
}

func ibm(ctx context.Context, t *testing.T, addr, host string) error {
	return ibmWith(&kafka.Dialer{Connect: to(addr)}, at(addr, host))
}

func ibmWith(d *kafka.Dialer, addr string) error {
	config := sarama.NewConfig()
	config.Net.Proxy.Enable = true
	config.Net.Proxy.Dialer = d
	config.ApiVersionsRequest = false
	b := sarama.NewBroker(addr)
	if err := b.Open(config); err != nil {
		return err
	}
	if ok, err := b.Connected(); !ok || err != nil {
		return err
	}
	defer b.Close()
	_, err := b.ApiVersions(&sarama.ApiVersionsRequest{})
	return err
}

// Each module authenticates, many times at once.
func TestAuthenticate(t *testing.T) {
	for module, ask := range clients {
		t.Run(module, func(t *testing.T) {
			b := newBroker(t, "GSSAPI", nil)
			const many = 10
			var all sync.WaitGroup
			for range many {
				all.Go(func() {
					if err := ask(t.Context(), t, b.addr, realm.Host); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if len(b.users) < many {
				t.Errorf("%q", b.users)
			}
			for _, user := range b.users {
				if user != "alice@TEST.GSS" {
					t.Errorf("%q", user)
				}
			}
		})
	}
}

// What cannot be, and what a person is told.
func TestRefused(t *testing.T) {
	none := "FILE:" + t.TempDir() + "/none"
	for _, tt := range []struct{ what, mech, host, ccache, want string }{
		{"another mechanism", "PLAIN", realm.Host, "", "PLAIN"},
		{"a service that is not known", "GSSAPI", "nobody.test", "", "kafka/nobody.test"},
		{"a service whose key the broker lacks", "GSSAPI", "stranger.test", "", "uthentication"},
		{"no ticket", "GSSAPI", realm.Host, none, "none"},
	} {
		for module, ask := range clients {
			t.Run(tt.what+", "+module, func(t *testing.T) {
				if tt.ccache != "" {
					t.Setenv("KRB5CCNAME", tt.ccache)
				}
				b := newBroker(t, tt.mech, nil)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				err := ask(ctx, t, b.addr, tt.host)
				if err == nil {
					t.Fatal("no error")
				}
				if module == "kafka-go" && tt.mech == "PLAIN" {
					if !errors.Is(err, segment.UnsupportedSASLMechanism) {
						t.Error(err)
					}
				} else if module == "franz-go" && tt.mech == "PLAIN" {
					if !strings.Contains(err.Error(), "SASL") {
						t.Error(err)
					}
				} else if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				if len(b.users) != 0 {
					t.Errorf("%q", b.users)
				}
			})
		}
	}
}

// A broker that does not prove who it is is told nothing.
func TestLiar(t *testing.T) {
	for module, ask := range clients {
		b := newBroker(t, "GSSAPI", nil)
		b.liar = true
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := ask(ctx, t, b.addr, realm.Host); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", module, err)
		}
		cancel()
		if len(b.users) != 0 {
			t.Errorf("%s goes on", module)
		}
	}
}

// The dialer protects the connection by TLS, and tells what is in its way.
func TestDialer(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{realm.Host}, BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	secure := newBroker(t, "GSSAPI", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	bare := newBroker(t, "GSSAPI", nil)
	if err := ibmWith(&kafka.Dialer{Connect: to(secure.addr), TLS: &tls.Config{RootCAs: roots}}, at(secure.addr, realm.Host)); err != nil {
		t.Error(err)
	}
	for what, tt := range map[string]struct {
		d    kafka.Dialer
		want string
	}{
		"no trust":           {kafka.Dialer{Connect: to(secure.addr), TLS: &tls.Config{}}, "certificate"},
		"TLS, and it has no": {kafka.Dialer{Connect: to(bare.addr), TLS: &tls.Config{RootCAs: roots}}, "the TLS handshake"},
		"no TLS, and it has": {kafka.Dialer{Connect: to(secure.addr)}, "TLS"},
		"layers":             {kafka.Dialer{Connect: to(bare.addr), Options: sasl.ClientOptions{Layers: sasl.LayerConfidentiality}}, "Kafka has none"},
		"another service":    {kafka.Dialer{Connect: to(bare.addr), Service: "nobody"}, "nobody/server.test"},
	} {
		conn, err := tt.d.Dial("tcp", realm.Host+":9092")
		if err == nil {
			conn.Close()
			t.Errorf("%s: no error", what)
		} else if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "kafka: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A broker that does not answer: the end of ctx ends it.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Read(make([]byte, 1)) // it has asked
			cancel()
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	if _, err := (&kafka.Dialer{Connect: to(l.Addr().String())}).DialContext(ctx, "tcp", realm.Host+":9092"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// The handshake of one whose ctx has ended.
	if _, err := (&kafka.Dialer{Connect: func(context.Context, string, string) (net.Conn, error) { one, _ := net.Pipe(); return one, nil }}).DialContext(ctx, "tcp", realm.Host+":9092"); !errors.Is(err, context.Canceled) && !errors.Is(err, gssapi.ErrNoContext) {
		t.Error(err)
	}
}
