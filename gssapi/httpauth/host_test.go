package httpauth

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	for _, test := range []struct{ name, fits, not string }{
		{"www.test", "https://www.test https://WWW.TEST https://www.test. https://www.test:8443 http://www.test https://u:p@www.test/x?y#z",
			"https://www.test.evil https://wwwxtest https://xwww.test https://www.test@evil.test https://evil.test/www.test https://x.www.test https://www.test.."},
		{"WWW.Test.", "https://www.test https://www.test.", "https://test"},
		{"www.test:443", "https://www.test https://www.test:443 http://www.test:443", "http://www.test https://www.test:8443"},
		{"www.test:80", "http://www.test", "https://www.test"},
		{".test", "https://www.test https://a.b.test https://A.TEST. https://a.test:1", "https://test https://.test https://www.test.evil https://wwwtest"},
		{".test:8443", "https://www.test:8443", "https://www.test"},
		{".0.0.1", "https://a.0.0.1", "https://127.0.0.1 https://a.0.0.1.x https://a.0.0.1x"},
		{"*", "https://www.test http://127.0.0.1 https://[::1]:8443 https://a", "https://b\u00fccher.test"},
		{"*:8443", "https://www.test:8443 https://[::1]:8443", "https://www.test"},
		{"127.0.0.1", "https://127.0.0.1 https://127.0.0.1:1", "https://127.0.0.2 https://127.0.0.1.test https://[::1]"},
		{"::1", "https://[::1] https://[::1]:8443 https://[0:0:0:0:0:0:0:1]", "https://[::2] https://127.0.0.1"},
		{"[::1]", "https://[::1] https://[::1]:8443", "https://[::2]"},
		{"[::1]:8443", "https://[::1]:8443", "https://[::1]"},
		{"xn--bcher-kva.test", "https://xn--bcher-kva.test https://XN--BCHER-KVA.test", "https://b\u00fccher.test"},
	} {
		all, err := rules("Hosts", []Host{{Name: test.name}})
		check(t, err)
		for _, list := range []struct {
			urls string
			want bool
		}{{test.fits, true}, {test.not, false}} {
			for s := range strings.FieldsSeq(list.urls) {
				u, err := url.Parse(s)
				check(t, err)
				if got := find(all, u) != nil; got != list.want {
					t.Errorf("%q, %s: %t", test.name, s, got)
				}
			}
		}
	}
	all, err := rules("Hosts", []Host{{Name: "a.test", Service: "HTTP@first"}, {Name: ".test", Service: "HTTP@second"}, {Name: "a.test", Service: "HTTP@third"}})
	check(t, err)
	for s, want := range map[string]string{"https://a.test": "HTTP@first", "https://b.test": "HTTP@second"} {
		u, err := url.Parse(s)
		check(t, err)
		if r := find(all, u); r == nil || r.Service != want {
			t.Errorf("%s: %+v", s, r)
		}
	}
}

// Fields that are wrong are an error of every request, which says where.
func TestBadFields(t *testing.T) {
	for _, h := range []Host{
		{}, {Name: "."}, {Name: "www.test:"}, {Name: "www.test:x"}, {Name: ":443"}, {Name: "https://www.test"}, {Name: "www.test/x"},
		{Name: "*.test"}, {Name: "a*"}, {Name: "b\u00fccher.test"}, {Name: "www test"}, {Name: "[::1"}, {Name: "u@www.test"},
		{Name: "a", Service: "HTTP"}, {Name: "a", Service: "HTTP@"}, {Name: "a", Service: "@a"}, {Name: "a", Service: "/a"},
	} {
		for _, rt := range []*Transport{{Hosts: []Host{{Name: "x"}, h}}, {Proxies: []Host{{Name: "x"}, h}}} {
			body := &closing{Reader: strings.NewReader("x")}
			req, err := http.NewRequest("POST", "http://127.0.0.1:1", body)
			check(t, err)
			if _, err = rt.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "[1], Name") {
				t.Errorf("%+v: %v", h, err)
			}
			body.wantClosed(t)
			rt.CloseIdleConnections()
		}
	}
	was := http.DefaultTransport
	defer func() { http.DefaultTransport = was }()
	http.DefaultTransport = http.NewFileTransport(http.Dir("."))
	if _, _, err := get(t, new(Transport), "http://www.test"); err == nil || !strings.Contains(err.Error(), "set Transport.Base") {
		t.Error(err)
	}
}
