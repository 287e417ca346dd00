package sasl

import (
	"context"
	"fmt"
	"net"

	"github.com/seed2651813c/gss/gssapi"
)

// Mechanism makes Clients for libraries that want a mechanism that serves any number
// of connections at once. S is their own interface for one authentication, which
// Session fits:
//
//	franz := &sasl.Mechanism[fsasl.Session]{Service: "kafka"} // fsasl: github.com/twmb/franz-go/pkg/sasl
//
//	segment := &sasl.Mechanism[ksasl.StateMachine]{ // ksasl: github.com/segmentio/kafka-go/sasl
//		Service: "kafka",
//		Host: func(ctx context.Context) string { return ksasl.MetadataFromContext(ctx).Host },
//	}
//
// Kafka has no security layers: use TLS, and leave Layers as it is.
type Mechanism[S any] struct {
	// Service is the first part of the service's name.
	Service string
	// Host tells the host of a connection to modules that do not (kafka-go).
	Host func(context.Context) string
	// Options of every Client; Layers must be LayerNone or zero. Context is not
	// looked at.
	Options ClientOptions
}

// Name is that of the mechanism.
func (m *Mechanism[S]) Name() string {
	s := settings{mechanism: m.Options.Mechanism}
	s.checked()
	return s.mechanism
}

// Authenticate begins an authentication to host, which may have a port. Errors are
// those of Client.Start. It is for franz-go.
func (m *Mechanism[S]) Authenticate(ctx context.Context, host string) (S, []byte, error) {
	var none S
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if m.Options.Layers&^LayerNone != 0 {
		return none, nil, failed(gssapi.ErrUnavailable, "Layers are %v, and these modules have none: use TLS", m.Options.Layers)
	}
	target, err := gssapi.HostService(m.Service, host)
	if err != nil {
		return none, nil, fmt.Errorf("sasl: %w", err)
	}
	x := &Session{NewClient(target, &m.Options)}
	s, ok := any(x).(S)
	if !ok {
		return none, nil, failed(gssapi.ErrFailure, "*sasl.Session does not fit %T: is it the Session of franz-go, or the StateMachine of kafka-go?", (*S)(nil))
	}
	_, initial, err := x.client.start(ctx)
	if err != nil {
		return none, nil, err
	}
	return s, initial, nil
}

// Start is Authenticate to what Host tells. It is for kafka-go.
func (m *Mechanism[S]) Start(ctx context.Context) (S, []byte, error) {
	if m.Host == nil {
		var none S
		return none, nil, failed(gssapi.ErrFailure, "Mechanism.Host is nil: set it to what kafka-go's MetadataFromContext tells")
	}
	return m.Authenticate(ctx, m.Host(ctx))
}

// Session is one authentication of a Mechanism.
type Session struct {
	client *Client
}

// Challenge takes the server's challenge; a response that comes with done is sent.
// It is for franz-go.
func (s *Session) Challenge(challenge []byte) (done bool, response []byte, err error) {
	response, err = s.client.Next(challenge)
	return s.client.Layer() != 0, response, err
}

// Next takes the server's challenge; done comes alone, after the answer to the last
// response. It is for kafka-go.
func (s *Session) Next(ctx context.Context, challenge []byte) (done bool, response []byte, err error) {
	done = s.client.Layer() != 0
	response, err = s.client.next(ctx, challenge)
	return done, response, err
}
