package gsstest

import (
	"errors"
	"strings"
	"testing"
)

func TestAllowDelegation(t *testing.T) {
	for _, k := range []KDC{MIT, Heimdal, MITLDAP} {
		t.Run(k.String(), func(t *testing.T) {
			r := New(t, &Options{KDC: k, Principals: []string{"host/front.test", "host/back.test", "host/other.test"}})
			if err := r.AllowDelegation("host/front.test"); err != nil {
				t.Fatal(err)
			}
			show, flag := "getprinc host/front.test", "OK_TO_AUTH_AS_DELEGATE"
			if k == Heimdal {
				show, flag = "get -l host/front.test", "trusted-for-delegation"
			}
			if out, err := r.Kadmin(show); err != nil || !strings.Contains(out, flag) {
				t.Errorf("the principal: %s, %v", out, err)
			}
			err := r.AllowDelegation("host/front.test", "host/back.test", "host/other.test")
			if (k == MIT) != errors.Is(err, errors.ErrUnsupported) || k == Heimdal && err != nil {
				t.Errorf("targets: %v", err)
			}
			for _, bad := range []string{"", "-x", "a\nb", "host/nosuch.test"} {
				if err := r.AllowDelegation(bad); err == nil {
					t.Errorf("%q may delegate", bad)
				}
			}
		})
	}
}
