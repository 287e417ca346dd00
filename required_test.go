package gss_test

import (
	"os"
	"testing"

	"github.com/seed2651813c/gss"
)

// TestRequiredLibrary keeps a run on one library from passing on another, or on none.
func TestRequiredLibrary(t *testing.T) {
	want := os.Getenv("GSS_REQUIRE_LIBRARY")
	if want == "" {
		t.Skip("GSS_REQUIRE_LIBRARY is not set: the tests run on whatever library is found")
	}
	l, err := gss.Library()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(l)
	if string(l.Kind) != want {
		t.Errorf("the tests run on %s, and %s is required", l.Kind, want)
	}
}
