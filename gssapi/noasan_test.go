//go:build !asan

package gssapi

const asanBuild = false
