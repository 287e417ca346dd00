package gss

import (
	"errors"
	"testing"
)

func TestGNUAcceptsOnlyIfAskedFor(t *testing.T) {
	if needLibrary(t); !gnu() {
		skip(t, "the library is not GNU gss, and the others may accept however they were found")
	}
	was := loaded.Load()
	defer loaded.Store(was)
	found := *was
	found.named = false
	loaded.Store(&found)
	if _, err := NewCtx().Accept(&AcceptArgs{Token: []byte("x")}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Accept on a GNU gss that was only found: %v, want ErrUnavailable", err)
	}
	loaded.Store(was)
	if _, err := NewCtx().Accept(&AcceptArgs{Token: []byte("x")}); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("Accept on a GNU gss that was asked for: %v, want an error of the library", err)
	}
}
