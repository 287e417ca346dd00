//go:build race

package handoff

const raceBuild = true
