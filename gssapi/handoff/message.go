package handoff

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
)

// A message is what one end tells the other, within the seal: four bytes of
// length, so much JSON, and the blobs, whose lengths are in the JSON. Secrets are
// in blobs only, which can be overwritten.
type message struct {
	Kind  kind   `json:"kind"`
	ID    uint64 `json:"id,omitempty"` // of the handoff that it is about
	Ready *ready `json:"ready,omitempty"`
	Offer *offer `json:"offer,omitempty"`
	Busy  bool   `json:"busy,omitempty"` // refuse: for want of a place only
	Text  string `json:"text,omitempty"` // refuse, failed: why, in words of the receiver's
	N     int    `json:"n,omitempty"`    // done: so many connections
	Blobs []int  `json:"blobs,omitempty"`

	blobs [][]byte
}

type kind string

const (
	isReady   kind = "ready"   // both ways, first: who this is
	isOffer   kind = "offer"   // to the receiver: would you take this? Its blob: the application's data
	isAccept  kind = "accept"  // to the sender: a place is kept for it
	isRefuse  kind = "refuse"  // to the sender: no
	isCancel  kind = "cancel"  // to the receiver: it will not come
	isContext kind = "context" // to the receiver: here it is, with the descriptor; blobs: token, received bytes, credential
	isTaken   kind = "taken"   // to the sender: imported
	isFailed  kind = "failed"  // to the sender: could not be imported; it is lost
	isDone    kind = "done"    // to the sender: so many connections have ended
	isLeave   kind = "leave"   // to the sender: this receiver wants no more
	isBye     kind = "bye"     // to the receiver: no more will come
)

// blobsOf an isContext.
const (
	blobToken = iota
	blobReceived
	blobCredential
	contextBlobs
)

// ready tells who an end of the session is.
type ready struct {
	Kind    string `json:"kind"` // of the library
	BuildID string `json:"build_id,omitempty"`
	File    string `json:"file"` // base name, for libraries without a build-id; their versions are
	Version string `json:"version,omitempty"`
	PID     int    `json:"pid"`
	Places  int    `json:"places,omitempty"` // of a receiver
	Max     int    `json:"max"`              // length of a message that is taken
}

// self is the ready of this process.
func self() (ready, error) {
	l, err := gss.Library()
	if err != nil {
		return ready{}, fmt.Errorf("handoff: %w", err)
	}
	return readyOf(l), nil
}

// fits returns an error if tokens of an other library are not for this one.
func (r ready) fits(other ready) error {
	same := r.Kind == other.Kind && r.File == other.File && r.Version == other.Version
	if r.BuildID != "" && other.BuildID != "" {
		same = r.Kind == other.Kind && r.BuildID == other.BuildID
	}
	if same {
		return nil
	}
	return fmt.Errorf("%w: this process uses %v, its peer %v: a context can go to a process with the same library only (see gss.Load and GSSAPI_LIBRARY)", ErrLibrary, r, other)
}

func (r ready) String() string {
	s := r.Kind
	if r.Version != "" {
		s += " " + r.Version
	}
	s += " (" + r.File
	if r.BuildID != "" {
		s += ", build-id " + r.BuildID
	}
	return s + ")"
}

// offer describes a connection before it comes.
type offer struct {
	Initiator principal `json:"initiator"`
	Acceptor  principal `json:"acceptor"`
	Mech      []byte    `json:"mech"`
	Flags     uint32    `json:"flags"`
	Expiry    int64     `json:"expiry"` // Unix nanoseconds; 0 is never
	Local     bool      `json:"local,omitempty"`
	Received  int       `json:"received,omitempty"`
	Delegated bool      `json:"delegated,omitempty"`
	Socket    []byte    `json:"socket"`           // which it is: see identify
	Config    []string  `json:"config,omitempty"` // files that the import reads
}

type principal struct {
	Text     string `json:"text,omitempty"`
	Exported []byte `json:"exported,omitempty"`
}

// Meta describes a connection and its context: what the receiver knows before it
// takes them, and what they were compared with afterwards.
type Meta struct {
	Initiator Principal // that began the context; Flags has FlagAnon if it is nobody's name, or none
	Acceptor  Principal // the service that it was accepted as
	Mech      gssapi.OID
	Flags     gssapi.Flags // granted
	Expiry    time.Time    // zero is never
	Local     bool         // the context is the initiator's end
	Data      []byte       // the application's: Handoff.Data
	Received  int          // bytes of the client that the sender has read already
	Delegated bool         // a delegated credential comes with it
}

// Principal is a name as a context told it.
type Principal struct {
	// Name is for people and logs, such as alice@EXAMPLE.COM; empty if the library
	// does not tell the name. Control characters are replaced.
	Name string
	// Exported are the canonical bytes, for decisions on access: RFC 2743, 3.2.
	// Empty if the name has none.
	Exported string
}

// String returns Name.
func (p Principal) String() string {
	if p.Name == "" {
		return "(no name)"
	}
	return p.Name
}

// Peer is the name of the other end of the connection.
func (m *Meta) Peer() Principal {
	if m.Local {
		return m.Acceptor
	}
	return m.Initiator
}

// principalOf is what is told of n.
func principalOf(n *gssapi.Name) principal {
	if n == nil {
		return principal{}
	}
	p := principal{Text: n.String()}
	if b, err := n.Export(); err == nil {
		p.Exported = b
	}
	return p
}

func (p principal) equal(q principal) bool {
	return p.Text == q.Text && bytes.Equal(p.Exported, q.Exported)
}

// describe makes the part of an offer that tells of the context.
func describe(i *gssapi.ContextInfo) offer {
	o := offer{
		Initiator: principalOf(i.Initiator), Acceptor: principalOf(i.Acceptor), Mech: []byte(i.Mech), Flags: uint32(i.Flags), Local: i.Local,
	}
	if !i.Expiry.IsZero() {
		o.Expiry = i.Expiry.UnixNano()
	}
	return o
}

// clockSlack is how much later the seconds of a lifetime may be read.
const clockSlack = 5 * time.Second

// differs says in what the imported context is not what was announced; empty if it
// is.
func (o *offer) differs(i *gssapi.ContextInfo) string {
	is := describe(i)
	switch {
	case !o.Initiator.equal(is.Initiator):
		return fmt.Sprintf("its initiator is %q, announced was %q", is.Initiator.Text, o.Initiator.Text)
	case !o.Acceptor.equal(is.Acceptor):
		return fmt.Sprintf("its acceptor is %q, announced was %q", is.Acceptor.Text, o.Acceptor.Text)
	case !bytes.Equal(o.Mech, is.Mech):
		return fmt.Sprintf("its mechanism is %v, announced was %v", gssapi.OID(is.Mech), gssapi.OID(o.Mech))
	case o.Flags != is.Flags:
		return fmt.Sprintf("its flags are %v, announced were %v", gssapi.Flags(is.Flags), gssapi.Flags(o.Flags))
	case o.Local != is.Local:
		return "it is the other end of the connection"
	case max(o.Expiry-is.Expiry, is.Expiry-o.Expiry) > int64(clockSlack):
		return fmt.Sprintf("it expires at %v, announced was %v", moment(is.Expiry), moment(o.Expiry))
	}
	return ""
}

// moment is the time of an offer's Expiry.
func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

func (o *offer) meta(data []byte) *Meta {
	name := func(p principal) Principal { return Principal{p.Text, string(p.Exported)} }
	return &Meta{
		Initiator: name(o.Initiator), Acceptor: name(o.Acceptor), Mech: gssapi.OID(o.Mech), Flags: gssapi.Flags(o.Flags),
		Expiry: moment(o.Expiry), Local: o.Local, Data: data, Received: o.Received, Delegated: o.Delegated,
	}
}

// encode appends m, without its blobs, to b.
func (m *message) encode(b []byte) ([]byte, error) {
	m.Blobs = m.Blobs[:0]
	for _, blob := range m.blobs {
		m.Blobs = append(m.Blobs, len(blob))
	}
	j, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(j))), j...), nil
}

// maxBlobs bounds what a message may announce.
const maxBlobs = contextBlobs

// decode takes b apart. The blobs lie in b.
func decode(b []byte) (*message, error) {
	if len(b) < 4 {
		return nil, errors.New("it is too short")
	}
	n := uint64(binary.BigEndian.Uint32(b))
	b = b[4:]
	if n > uint64(len(b)) {
		return nil, errors.New("its lengths do not add up")
	}
	d := json.NewDecoder(bytes.NewReader(b[:n]))
	d.DisallowUnknownFields()
	m := new(message)
	if err := d.Decode(m); err != nil {
		return nil, err
	}
	if d.InputOffset() != int64(n) {
		return nil, errors.New("there is something behind it")
	}
	b = b[n:]
	if len(m.Blobs) > maxBlobs {
		return nil, errors.New("it has too many parts")
	}
	for _, n := range m.Blobs {
		if n < 0 || n > len(b) {
			return nil, errors.New("its lengths do not add up")
		}
		m.blobs = append(m.blobs, b[:n:n])
		b = b[n:]
	}
	if len(b) > 0 {
		return nil, errors.New("its lengths do not add up")
	}
	return m, m.check()
}

// allPrint reports whether texts of the peer can go to logs and terminals as they
// are. A Name's String sees to that.
func allPrint(texts ...string) bool {
	for _, s := range texts {
		for _, r := range s {
			if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
				return false
			}
		}
	}
	return true
}

// check is whether m has what its kind must have.
func (m *message) check() error {
	bad, blobs := false, 0
	switch m.Kind {
	case isReady:
		r := m.Ready
		bad = r == nil || r.Places < 0 || r.Max <= 0 || !allPrint(r.Kind, r.BuildID, r.File, r.Version)
	case isOffer:
		o := m.Offer
		bad = o == nil || o.Received < 0 || o.Expiry < 0 || !allPrint(o.Initiator.Text, o.Acceptor.Text)
		blobs = 1
	case isContext:
		bad, blobs = len(m.blobs) == 0 || len(m.blobs[blobToken]) == 0, contextBlobs
	case isDone:
		bad = m.N < 1
	case isAccept, isRefuse, isCancel, isTaken, isFailed, isLeave, isBye:
	default:
		return fmt.Errorf("%q is no kind of message", m.Kind)
	}
	if bad || len(m.blobs) != blobs {
		return fmt.Errorf("a message %q lacks what it must have, or has what it must not", m.Kind)
	}
	return nil
}
