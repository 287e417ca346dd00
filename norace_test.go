//go:build !race

package gss

const raceBuild = false
