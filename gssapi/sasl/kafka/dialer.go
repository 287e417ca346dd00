// Package kafka authenticates connections to brokers of Apache Kafka by GSS-API (SASL
// mechanism GSSAPI), for clients that take a dialer and no mechanism of the program's own, such as
// github.com/IBM/sarama, which it does not import:
//
//	config := sarama.NewConfig()
//	config.Net.Proxy.Enable = true
//	config.Net.Proxy.Dialer = &kafka.Dialer{TLS: &tls.Config{}}
//
// The client's own TLS and SASL are off then. A broker that wants its clients to
// authenticate again (connections.max.reauth.ms) ends the connection when that is due,
// and the client dials anew.
//
// For github.com/twmb/franz-go and github.com/segmentio/kafka-go take sasl.Mechanism.
package kafka

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/sasl"
)

// Dialer connects to a broker and authenticates: KIP-152 of Kafka, of Kafka 1.0 and
// later. It may be used by many goroutines at once; its fields must not be changed
// then. The zero value is not safe in a network: Kafka has no security layers, and so
// TLS has to protect the connection.
type Dialer struct {
	// TLS protects the connection; nil is none. An empty ServerName is the host that is
	// dialed.
	TLS *tls.Config
	// Service is the first part of the broker's principal; empty is "kafka"
	// (sasl.kerberos.service.name).
	Service string
	// Options of the authentication. Layers must be LayerNone or zero; Context is not
	// looked at.
	Options sasl.ClientOptions
	// ClientID is what the broker's log calls the client; empty is "gss".
	ClientID string
	// Connect makes the connection; nil is net.Dialer.DialContext.
	Connect func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Dial is DialContext without an end.
func (d *Dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext connects to addr, which has the host's name in the broker's principal, and
// authenticates. Errors are those of the dialer and of TLS, of sasl.Client, and what
// the broker says.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	connect := d.Connect
	if connect == nil {
		connect = new(net.Dialer).DialContext
	}
	conn, err := connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	raw := conn
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	if d.TLS != nil {
		secure := tls.Client(conn, d.config(host))
		conn = secure
		if err = secure.HandshakeContext(ctx); err != nil {
			err = fmt.Errorf("the TLS handshake: %w", err)
		}
	}
	if err == nil {
		err = d.authenticate(ctx, conn, host)
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("kafka: %s: %w", addr, err)
	}
	return conn, nil
}

func (d *Dialer) config(host string) *tls.Config {
	c := d.TLS
	if c.ServerName == "" {
		c = c.Clone()
		c.ServerName = host
	}
	return c
}

func (d *Dialer) authenticate(ctx context.Context, conn net.Conn, host string) error {
	if d.Options.Layers&^sasl.LayerNone != 0 {
		return fmt.Errorf("the Layers %v are asked for, and Kafka has none: use TLS: %w", d.Options.Layers, gssapi.ErrUnavailable)
	}
	service := d.Service
	if service == "" {
		service = "kafka"
	}
	target, err := gssapi.HostService(service, host)
	if err != nil {
		return err
	}
	o := d.Options
	o.Context = ctx
	client := sasl.NewClient(target, &o)
	defer client.Close()
	mech, message, err := client.Start()
	if err != nil {
		return err
	}
	b := broker{conn: conn, id: d.ClientID}
	if b.id == "" {
		b.id = "gss"
	}
	if err := b.handshake(mech); err != nil {
		return err
	}
	for {
		challenge, err := b.authenticate(message)
		if err != nil {
			return err
		}
		if client.Layer() != 0 && len(challenge) == 0 { // the answer to the last response
			return nil
		}
		if message, err = client.Next(challenge); err != nil {
			return err
		}
	}
}

// The requests that are sent. Numbers are those of Kafka's protocol.
const (
	saslHandshake    = 17
	saslAuthenticate = 36
)

// maxResponse is the longest response that is read, in bytes.
const maxResponse = 256 << 10

// broker speaks as much of Kafka's protocol as it takes to authenticate.
type broker struct {
	conn  net.Conn
	id    string
	count uint32
}

// request sends one and returns the body of its response.
func (b *broker) request(key, version uint16, body []byte) (*reader, error) {
	b.count++
	msg := binary.BigEndian.AppendUint16(make([]byte, 4), key)
	msg = binary.BigEndian.AppendUint16(msg, version)
	msg = binary.BigEndian.AppendUint32(msg, b.count)
	msg = appendString(msg, b.id)
	msg = append(msg, body...)
	binary.BigEndian.PutUint32(msg, uint32(len(msg)-4))
	if _, err := b.conn.Write(msg); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(b.conn, head[:]); err != nil {
		if err == io.EOF {
			err = errors.New("the broker has closed the connection: is it a listener with SASL (and with TLS or without, as here), of Kafka 1.0 or later?")
		}
		return nil, err
	}
	n, count := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:])
	if n < 4 || n > maxResponse || count != b.count {
		return nil, fmt.Errorf("a response of %d bytes to request %d comes, and one to %d with at most %d is expected: is it a broker, and its TLS as here?", n, count, b.count, maxResponse)
	}
	rest := make([]byte, n-4)
	if _, err := io.ReadFull(b.conn, rest); err != nil {
		return nil, err
	}
	return &reader{rest: rest}, nil
}

// handshake tells the mechanism.
func (b *broker) handshake(mech string) error {
	r, err := b.request(saslHandshake, 1, appendString(nil, mech))
	if err != nil {
		return err
	}
	code := r.uint16()
	var mechs []string
	for range r.uint32() {
		mechs = append(mechs, r.string())
		if r.short {
			break
		}
	}
	switch {
	case r.short:
		return errShort
	case code != 0:
		return fmt.Errorf("the broker takes no %s (error %d), but the mechanisms %q (sasl.enabled.mechanisms)", mech, int16(code), mechs)
	}
	return nil
}

// authenticate sends a message of the exchange and returns the next challenge.
func (b *broker) authenticate(message []byte) ([]byte, error) {
	r, err := b.request(saslAuthenticate, 0, append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	if err != nil {
		return nil, err
	}
	code, text, challenge := r.uint16(), r.string(), r.bytes()
	switch {
	case r.short:
		return nil, errShort
	case code != 0:
		return nil, fmt.Errorf("the broker refuses (error %d): %q: %w", int16(code), text, gssapi.ErrUnauthorized)
	}
	return challenge, nil
}

var errShort = errors.New("a response of the broker is too short")

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// reader takes a response apart; short means that there was not as much as it says.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.rest, r.short = nil, true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// string is one that may be null, of which the length is -1.
func (r *reader) string() string {
	return string(r.take(int(max(0, int16(r.uint16())))))
}

func (r *reader) bytes() []byte {
	return r.take(int(max(0, int32(r.uint32()))))
}
