//go:build !asan

package gss

const asanBuild = false
