//go:build !unix

package gsstest

import (
	"errors"
	"time"
)

// On other systems findTools refuses before any of these is called.
const supported = false

type guard struct{}

func newGuard(string) (*guard, error) { return nil, errors.ErrUnsupported }
func (*guard) release() error         { return nil }
func (*guard) start(args, env []string, dir, output string) (*process, error) {
	return nil, errors.ErrUnsupported
}
func (*guard) stop(*process, time.Duration) error { return nil }

type process struct{ done chan struct{} }

func (*process) status() string { return "" }
func (*process) suspend() error { return errors.ErrUnsupported }
func (*process) resume() error  { return errors.ErrUnsupported }
