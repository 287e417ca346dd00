package gssapi

import (
	"bytes"
	"strings"

	"github.com/seed2651813c/gss"
)

// InquireByOID returns what the context has for an object identifier, as buffers
// whose meaning is the mechanism's. It may be a key: the caller clears it. It
// does not block.
//
// The error is ErrUnavailable if the library has nothing there. MIT and Heimdal.
func (c *Context) InquireByOID(object OID) ([][]byte, error) {
	if err := c.usable("InquireByOID"); err != nil {
		return nil, err
	}
	return c.ctx.InquireByOID(object)
}

// notOfContext are options that Heimdal 7.8 takes with any context, and sets for the
// thread that happens to make the call, and so for whoever is on it later, or for
// the process; and what there is in their place.
var notOfContext = map[OID]string{
	"\x2a\x85\x70\x2b\x0d\x05": "RegisterAcceptorIdentity",
	"\x2a\x85\x70\x2b\x0d\x07": "ThreadSettings", // how hosts are looked up
	"\x2a\x85\x70\x2b\x0d\x0f": "ThreadSettings", // the default realm
	"\x2a\x85\x70\x2b\x0d\x10": "the CCache of CredentialOptions",
	"\x2a\x85\x70\x2b\x0d\x11": "ThreadSettings", // the time offset
}

// SetOption sets an option of the context. What options there are, and what
// value each takes, is the mechanism's: Kerberos of MIT has none, Heimdal's has
// one, for messages under old DES3 keys. value is not changed. If the library
// took the context away, which is the right of this call, all methods are
// ErrNoContext afterwards. It does not block.
//
// An option that the library does not know is ErrUnavailable, and so are those of
// Heimdal that are not for the context, but for its thread or for the process: see
// ThreadSettings. MIT and Heimdal.
func (c *Context) SetOption(option OID, value []byte) error {
	const op = "SetOption"
	if err := c.usable(op); err != nil {
		return err
	}
	if instead, ok := notOfContext[option]; ok {
		return refuse(op, ErrUnavailable, "option %v is not for this context alone: use %s", option, instead)
	}
	err := c.ctx.SetOption(option, value)
	if c.ctx.Gone() {
		c.become(gone)
	}
	return err
}

// StreamSizes are the sizes of the parts of a message, in bytes.
type StreamSizes = gss.StreamSizes

// StreamSizes tells the sizes of the parts of this context's messages. Heimdal
// alone has the call, and 7.8 answers with zeros to every context, which is
// ErrUnavailable here. It does not block.
func (c *Context) StreamSizes() (*StreamSizes, error) {
	const op = "StreamSizes"
	if err := c.usable(op); err != nil {
		return nil, err
	}
	s, err := c.ctx.StreamSizes()
	if err != nil {
		return nil, err
	}
	if s == (StreamSizes{}) {
		return nil, refuse(op, ErrUnavailable, "the library has the call, and tells no sizes")
	}
	return &s, nil
}

// CompleteAuthToken gives the library the first message of the application, for
// mechanisms that sign it with their last token. Kerberos and SPNEGO do not: it
// does nothing for them. It does not block. MIT only; ErrUnavailable elsewhere.
func (c *Context) CompleteAuthToken(msg []byte) error {
	if err := c.usable("CompleteAuthToken"); err != nil {
		return err
	}
	return c.ctx.CompleteAuthToken(msg)
}

// PRFKey says which key of a context PseudoRandom uses, see [gss.PRFKey].
type PRFKey = gss.PRFKey

// Keys of PseudoRandom.
const (
	PRFKeyFull    = gss.PRFKeyFull    // both ends took part in it: the one to use
	PRFKeyPartial = gss.PRFKeyPartial // it was there before the handshake ended
)

// PseudoRandom returns n bytes that both ends of the context get for the same
// key and seed, and nobody else: keys for another protocol, or what ties it to
// this context. Take a seed of its own for each purpose, such as "EXPORTER
// example". Fewer bytes of the same key and seed are the beginning of more. It
// does not block.
//
// n is at most 1 MiB, else ErrFailure; ErrUnavailable if the mechanism has no such
// function. RFC 4401, RFC 4402. MIT and Heimdal, which agree.
func (c *Context) PseudoRandom(key PRFKey, seed []byte, n int) ([]byte, error) {
	if err := c.usable("PseudoRandom"); err != nil {
		return nil, err
	}
	out, err := c.ctx.PseudoRandom(nil, key, seed, n)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SessionKey returns the key that the messages of the context are protected
// with, as SSPI gives it to protocols such as SMB. Who has it can read and forge
// everything. The key is the caller's, who calls Clear. It does not block.
// ErrUnavailable if the mechanism tells none. MIT and Heimdal.
func (c *Context) SessionKey() (*Key, error) {
	const op = "SessionKey"
	if err := c.usable(op); err != nil {
		return nil, err
	}
	parts, err := c.ctx.InquireByOID(gss.InqSSPISessionKey)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range parts {
			clear(p)
		}
	}()
	if len(parts) == 0 || len(parts[0]) == 0 {
		return nil, refuse(op, ErrFailure, "the library returned no key")
	}
	k := &Key{Value: bytes.Clone(parts[0])}
	if len(parts) > 1 {
		k.Type = enctype(parts[1])
		return k, nil
	}
	// Heimdal: the same key, with its enctype.
	if same, err := c.ctx.Subkey(); err == nil {
		if bytes.Equal(same.Value, k.Value) {
			k.Type = same.Type
		}
		same.Clear()
	}
	return k, nil
}

// enctype is the last number of 1.2.840.113554.1.2.2.4 and an enctype; 0 for
// what is none.
func enctype(oid []byte) int32 {
	const prefix = string(MechKrb5) + "\x04"
	if !strings.HasPrefix(string(oid), prefix) {
		return 0
	}
	n := int32(0)
	for _, b := range oid[len(prefix):] {
		if n > 1<<23 {
			return 0
		}
		n = n<<7 | int32(b&0x7f)
	}
	return n
}
