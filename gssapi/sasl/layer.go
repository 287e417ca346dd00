package sasl

import (
	"fmt"
	"net"
	"strings"

	"github.com/seed2651813c/gss/gssapi"
)

// Names of mechanisms, as they stand in protocols.
const (
	GSSAPI      = "GSSAPI"        // Kerberos: RFC 4752
	GS2Krb5     = "GS2-KRB5"      // Kerberos, without layers: RFC 5801
	GS2Krb5Plus = "GS2-KRB5-PLUS" // with channel bindings
	GSSSPNEGO   = "GSS-SPNEGO"    // SPNEGO: [MS-ADTS] 3.1.1.3.4.5.1
)

// Layers are security layers: how the messages after the exchange are protected. The
// bits are those of RFC 4752, 3.3.
type Layers uint8

// Layers, the stronger the higher.
const (
	LayerNone            Layers = 1
	LayerIntegrity       Layers = 2
	LayerConfidentiality Layers = 4
)

const allLayers = LayerNone | LayerIntegrity | LayerConfidentiality

// String returns none, integrity, confidentiality, or several of them.
func (l Layers) String() string {
	var s []string
	for _, x := range []struct {
		layer Layers
		name  string
	}{{LayerNone, "none"}, {LayerIntegrity, "integrity"}, {LayerConfidentiality, "confidentiality"}} {
		if l&x.layer != 0 {
			s = append(s, x.name)
		}
	}
	if l&^allLayers != 0 || l == 0 {
		s = append(s, fmt.Sprintf("%#x", uint8(l&^allLayers)))
	}
	return strings.Join(s, ",")
}

// strongest is the one of several layers that protects most.
func (l Layers) strongest() Layers {
	for _, one := range []Layers{LayerConfidentiality, LayerIntegrity, LayerNone} {
		if l&one != 0 {
			return one
		}
	}
	return 0
}

// flags are those that a context needs for any of the layers.
func (l Layers) flags() gssapi.Flags {
	flags := gssapi.FlagMutual
	if l&(LayerIntegrity|LayerConfidentiality) != 0 {
		flags |= gssapi.FlagInteg | gssapi.FlagSequence | gssapi.FlagReplay
	}
	if l&LayerConfidentiality != 0 {
		flags |= gssapi.FlagConf
	}
	return flags
}

// possible are the layers that a context with these flags can have.
func possible(flags gssapi.Flags) Layers {
	l := LayerNone
	if flags&(gssapi.FlagInteg|gssapi.FlagSequence) == gssapi.FlagInteg|gssapi.FlagSequence {
		l |= LayerIntegrity
		if flags&gssapi.FlagConf != 0 {
			l |= LayerConfidentiality
		}
	}
	return l
}

// DefaultMaxFrame is the length of the longest token that an end takes within a
// security layer, in bytes, if its options say no other.
const DefaultMaxFrame = 64 << 10

// maxMaxFrame is what 24 bits can announce.
const maxMaxFrame = 1<<24 - 1

// announcement is a message of the negotiation: layers, and the length of the
// longest token that the sender takes. RFC 4752, 3.1 and 3.2.
type announcement struct {
	layers  Layers
	max     int
	authzID string // of the client
}

func (a announcement) append(b []byte) []byte {
	b = append(b, byte(a.layers), byte(a.max>>16), byte(a.max>>8), byte(a.max))
	return append(b, a.authzID...)
}

func parseAnnouncement(b []byte) (announcement, error) {
	if len(b) < 4 {
		return announcement{}, failed(gssapi.ErrDefectiveToken, "the message about security layers has %d bytes, and needs 4", len(b))
	}
	return announcement{Layers(b[0]), int(b[1])<<16 | int(b[2])<<8 | int(b[3]), string(b[4:])}, nil
}

// agreed is what both ends have agreed on.
type agreed struct {
	layer Layers // none yet: 0
	read  int    // longest token that this end takes
	write int    // longest token that the peer takes
}

// conn is conn with the layer.
func (a agreed) conn(c *gssapi.Context, conn net.Conn) (net.Conn, error) {
	o := &gssapi.ConnOptions{MaxFrame: a.read, MaxWrite: a.write, PlainEnd: true}
	switch a.layer {
	case LayerNone:
		return conn, nil
	case LayerIntegrity:
		o.Protection = gssapi.Integrity
	case LayerConfidentiality:
	default:
		return nil, failed(gssapi.ErrNoContext, "there is no security layer before the exchange is done")
	}
	x := gssapi.NewConn(conn, c, o)
	if err := x.Handshake(); err != nil { // which the context has done: no I/O
		return nil, fmt.Errorf("sasl: %w", err)
	}
	return x, nil
}
