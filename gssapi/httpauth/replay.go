package httpauth

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

const (
	// replayTime is how long an authentication is remembered at least: the libraries
	// take no request that is more than the permitted clock skew from now, which is 5
	// minutes unless krb5.conf says otherwise.
	replayTime = 10 * time.Minute
	// maxReplays is how many are remembered at least, whatever the time: 16 bytes each.
	maxReplays = 1 << 20
)

// errReplay is the error of a token that was sent before.
var errReplay = errors.New("httpauth: the token was sent before (replay): somebody has recorded it, or a client sends one token twice")

// replays remembers who was authenticated, by what is new in each request of
// Kerberos and what nobody can change: the initiator's key and sequence number. (A
// token can be put into SPNEGO in many ways.) MIT has a replay cache for all processes
// of a machine, unless it is turned off; Heimdal 7.8 has none.
type replays struct {
	mu          sync.Mutex
	most        int // in now
	now, before map[[16]byte]struct{}
	begun       time.Time // now
}

// seen reports whether a context is that of a request that was seen before. Mechanisms
// other than Kerberos have no such contexts.
func (r *replays) seen(c *gssapi.Context) (bool, error) {
	l, err := c.Lucid()
	if errors.Is(err, gssapi.ErrUnavailable) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer l.Clear()
	hash := sha256.New()
	hash.Write(binary.BigEndian.AppendUint64(nil, l.RecvSeq))
	hash.Write(l.Key.Value)
	return r.add([16]byte(hash.Sum(nil)), time.Now()), nil
}

// add remembers an authentication, and reports whether it was remembered already.
func (r *replays) add(id [16]byte, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || now.Sub(r.begun) >= replayTime || len(r.now) >= r.most {
		if now.Sub(r.begun) >= 2*replayTime {
			r.now = nil
		}
		r.now, r.before, r.begun = map[[16]byte]struct{}{}, r.now, now
	}
	_, seen := r.now[id]
	if !seen {
		_, seen = r.before[id]
	}
	r.now[id] = struct{}{}
	return seen
}
