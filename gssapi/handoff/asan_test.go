//go:build asan

package handoff

const asanBuild = true
