//go:build !race

package handoff

const raceBuild = false
