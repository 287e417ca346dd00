package gss

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// eachFails makes calls that fail on 64 goroutines; each is given another name,
// and its error must have that name in its text, and no other's.
func eachFails(t *testing.T, prefix string, call func(name string) error) {
	t.Helper()
	n := 100_000
	if testing.Short() || raceBuild || asanBuild {
		n = 5_000
	}
	var next, lost, wrong atomic.Int64
	var example atomic.Pointer[string]
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n {
					return
				}
				name := fmt.Sprintf("%s%07d", prefix, i)
				err := call(name)
				var e *Error
				if !errors.As(err, &e) {
					t.Errorf("%s: error %v", name, err)
					return
				}
				switch {
				case strings.Contains(e.Text, name):
					if strings.Count(e.Text, prefix) != strings.Count(e.Text, name) {
						wrong.Add(1) // its own, and another's
					}
					continue
				case strings.Contains(e.Text, prefix):
					wrong.Add(1)
				default:
					lost.Add(1)
				}
				text := fmt.Sprintf("%s: %+v", name, e)
				example.Store(&text)
			}
		})
	}
	wg.Wait()
	if lost.Load()+wrong.Load() > 0 {
		t.Errorf("of %d errors %d have no name, %d another call's: %s", n, lost.Load(), wrong.Load(), *example.Load())
	}
}

// The text of a minor status is per thread in MIT and Heimdal: it is fetched on
// the thread of the failing call, before that makes another.
func TestErrorTextsOfAccept(t *testing.T) {
	needKrb5(t)
	if !isChild() {
		keytab, err := realm.Keytab("HTTP/other.test")
		check(t, err)
		inChild(t, "KRB5_KTNAME=FILE:"+keytab)
		return
	}
	// The acceptor has no key for the service, whose name stands in the token
	// unprotected: it can be another in each call, without a KDC.
	x := NewCtx()
	s, err := x.Init(&InitArgs{Target: server(t), Mech: MechKrb5, Flags: allFlags})
	check(t, err)
	token := s.Token.Bytes()
	s.Token.Release()
	x.Delete()
	const service = "server.test"
	if bytes.Count(token, []byte(service)) != 1 {
		t.Fatal("the token does not have the name once")
	}
	eachFails(t, "srv-", func(name string) error {
		x := NewCtx()
		defer x.Delete()
		s, err := x.Accept(&AcceptArgs{Token: bytes.Replace(token, []byte(service), []byte(name), 1)})
		if s != nil {
			s.Token.Release()
		}
		return err
	})
}

func TestErrorTextsOfAcquire(t *testing.T) {
	needKrb5(t)
	if !Supports("gss_acquire_cred_from") {
		skip(t, "without credential stores a process has one keytab, which cannot be another in each call")
	}
	dir := t.TempDir()
	eachFails(t, "keytab-", func(name string) error {
		r, err := AcquireCredFrom(nil, 0, []OID{MechKrb5}, UsageAccept, map[string]string{"keytab": "FILE:" + filepath.Join(dir, name)})
		if err == nil {
			r.Cred.Release()
		}
		return err
	})
}

func TestErrorTextsOfInitiators(t *testing.T) {
	needKrb5(t)
	if !Supports("gss_acquire_cred_from") {
		skip(t, "without credential stores it does not say whose credentials there are not: see TestErrorsName")
	}
	eachFails(t, "user-", func(name string) error {
		n, err := ImportName([]byte(name), NTUserName)
		if err != nil {
			return err
		}
		defer n.Release()
		r, err := AcquireCred(n, 0, []OID{MechKrb5}, UsageInitiate)
		if err == nil {
			r.Cred.Release()
		}
		return err
	})
}

// What no mechanism has told of has the text of the Kerberos library, and not a
// number.
func TestErrorTextsOfCodes(t *testing.T) {
	needKrb5(t)
	empty := filepath.Join(t.TempDir(), "ccache")
	check(t, os.WriteFile(empty, []byte("\x05\x04\x00\x00"), 0o600))
	for what, call := range map[string]func() error{
		"a ccache that is cut":      func() error { _, err := ImportKrb5Cred("FILE:"+empty, "", ""); return err },
		"a ccache that is missing":  func() error { _, err := ImportKrb5Cred("FILE:/nowhere/ccache", "", ""); return err },
		"another principal":         func() error { _, err := ImportKrb5Cred(os.Getenv("KRB5CCNAME"), "nobody", ""); return err },
		"the token of a credential": func() error { _, err := ImportCred([]byte("junk")); return err },
	} {
		err := call()
		var e *Error
		if !errors.As(err, &e) || e.Text == "" || strings.Contains(e.Text, "unknown") || strings.Contains(e.Text, "Unknown") || strings.Contains(e.Text, "plugin") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
