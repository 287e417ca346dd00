//go:build race

package gssapi

const raceBuild = true
