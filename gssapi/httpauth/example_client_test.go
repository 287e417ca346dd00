package httpauth_test

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/httpauth"
)

func ExampleTransport() {
	client := &http.Client{Transport: &httpauth.Transport{
		Hosts: []httpauth.Host{
			{Name: "files.example.com", Delegate: true}, // this one alone can act for the user
			{Name: ".example.com"},
		},
		Proxies: []httpauth.Host{{Name: "proxy.example.com:3128"}},
	}}
	resp, err := client.Get("https://intranet.example.com/")
	switch {
	case errors.Is(err, gssapi.ErrNoCred):
		fmt.Println("run kinit first:", err)
	case errors.Is(err, gssapi.ErrUnauthorized):
		fmt.Println("the server does not let you in, or is another one:", err)
	case err != nil:
		fmt.Println(err)
	default:
		defer resp.Body.Close()
		fmt.Println(resp.Status)
	}
}
