//go:build cgo && unix && gss_link

package gss

/*
#cgo pkg-config: krb5-gssapi
#cgo CFLAGS: -DGSSGO_LINK
*/
import "C"

// linked: build tag gss_link binds the table at link time, to the library that
// pkg-config knows as krb5-gssapi (MIT's and Heimdal's development packages both
// provide it), for systems that forbid dlopen.
const linked = true
