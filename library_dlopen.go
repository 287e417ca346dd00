//go:build !cgo || !unix || !gss_link

package gss

// linked: see cgo_link.go.
const linked = false
