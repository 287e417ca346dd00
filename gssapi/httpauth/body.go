package httpauth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync"
)

// DefaultMaxBody is how many bytes of a request's body a Transport keeps in memory, if
// MaxBody does not say otherwise.
const DefaultMaxBody = 1 << 20

// ErrBody is the error of a request whose body has been sent, or a part of it, and
// would have to be sent again: set Request.GetBody, or a larger Transport.MaxBody.
var ErrBody = errors.New("the server demands a token after it has begun to take the request's body, which cannot be sent again: set Request.GetBody, or a larger Transport.MaxBody")

// replay makes the body of each leg of a request, the first of which there always is.
// It sees to it that the caller's body is closed.
type replay struct {
	get  func() (io.ReadCloser, error) // another body; nil: there is only one
	body io.ReadCloser                 // of the first leg, until that has it
	once *once                         // the only body

	asked   bool // whether the only body is wanted (Expect: 100-continue)
	unasked bool // it is sent without that
}

// newReplay reads the request's body, if it must. maxBody is that of Transport.
func newReplay(req *http.Request, maxBody int64) (*replay, error) {
	if maxBody == 0 {
		maxBody = DefaultMaxBody
	}
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return new(replay), nil
	case req.GetBody != nil:
		return &replay{get: req.GetBody, body: req.Body}, nil
	case maxBody < 0 || req.ContentLength > maxBody:
		return &replay{once: &once{from: req.Body, body: req.Body}}, nil
	}
	limit := maxBody
	if limit < math.MaxInt64 {
		limit++
	}
	b, err := io.ReadAll(io.LimitReader(req.Body, limit))
	if err != nil {
		req.Body.Close()
		return nil, err
	}
	if int64(len(b)) > maxBody {
		return &replay{once: &once{from: io.MultiReader(bytes.NewReader(b), req.Body), body: req.Body}}, nil
	}
	if err := req.Body.Close(); err != nil {
		return nil, err
	}
	return &replay{get: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}, nil
}

// next gives the body to a leg. asks tells that somebody gets no token with it, and so
// may answer with a demand.
func (r *replay) next(leg *http.Request, asks bool) error {
	switch {
	case r.once != nil:
		body, err := r.once.next()
		if err != nil {
			return err
		}
		leg.Body = body
		if !has(leg.Header, "Expect") && !r.unasked {
			leg.Header.Set("Expect", "100-continue")
			r.asked = true
		}
		// Or net/http would send the body to a server that does not want it, so as to
		// keep the connection.
		leg.Close = leg.Close || asks
	case r.body != nil:
		leg.Body, r.body = r.body, nil
	case r.get != nil:
		body, err := r.get()
		if err != nil {
			return fmt.Errorf("Request.GetBody: %w", err)
		}
		leg.Body, leg.GetBody = body, r.get
	}
	return nil
}

// declined tells whether the request must be sent again because it was asked whether
// the body is wanted, and somebody on the way does not know of that: RFC 9110, 10.1.1.
func (r *replay) declined(resp *http.Response) bool {
	if r.unasked || !r.asked || resp.StatusCode != http.StatusExpectationFailed {
		return false
	}
	r.unasked = true
	return true
}

// finish tells that there are no more legs.
func (r *replay) finish() {
	if r.once != nil {
		r.once.finish()
	}
}

// once is a body that can be sent once. Legs that do not read it leave it to the next.
type once struct {
	from io.Reader
	body io.Closer

	mu   sync.Mutex
	leg  *onceLeg // that may read it; nil if there is none any more
	read bool
	last bool // there will be no other leg
}

type onceLeg struct{ o *once }

// next is the body for one more leg. The one before cannot read it any more.
func (o *once) next() (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.read {
		return nil, ErrBody
	}
	o.leg = &onceLeg{o}
	return o.leg, nil
}

func (o *once) finish() {
	o.mu.Lock()
	o.last = true
	unused := o.leg == nil && !o.read
	o.mu.Unlock()
	if unused {
		o.body.Close()
	}
}

func (l *onceLeg) Read(p []byte) (int, error) {
	l.o.mu.Lock()
	mine := l.o.leg == l
	l.o.read = l.o.read || mine
	l.o.mu.Unlock()
	if !mine {
		return 0, http.ErrBodyReadAfterClose
	}
	return l.o.from.Read(p)
}

// Close closes the caller's body if that is of no use to another leg.
func (l *onceLeg) Close() error {
	l.o.mu.Lock()
	mine := l.o.leg == l
	if mine {
		l.o.leg = nil
	}
	used := mine && (l.o.read || l.o.last)
	l.o.mu.Unlock()
	if !used {
		return nil
	}
	return l.o.body.Close()
}
