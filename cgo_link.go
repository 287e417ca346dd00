//go:build cgo && unix && gss_link

package gss

// (The build cache of Go 1.26 does not look at what pkg-config is asked for: each
// library has a flag of its own, or one would be taken for another.)

/*
#cgo CFLAGS: -DGSSGO_LINK
#cgo !darwin,!gss_heimdal,!gss_gnu pkg-config: krb5-gssapi
#cgo gss_heimdal CFLAGS: -DGSSGO_LINK_HEIMDAL
#cgo gss_heimdal pkg-config: heimdal-gssapi
#cgo gss_gnu CFLAGS: -DGSSGO_LINK_GNU
#cgo gss_gnu pkg-config: gss
#cgo darwin,!gss_heimdal,!gss_gnu LDFLAGS: -framework GSS
*/
import "C"

// linked: build tag gss_link binds the table at link time, for systems that
// forbid dlopen: to the library that pkg-config knows as krb5-gssapi (MIT's and
// Heimdal's development packages both provide it), with gss_heimdal or gss_gnu
// besides to that one, and on macOS to GSS.framework. What a version of the
// library lacks are weak references. The linker of macOS takes none that no
// library fills, so there gss_wrap alone is linked, and the other functions are
// looked up in the library that it is in.
const linked = true
