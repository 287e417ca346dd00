//go:build !gss_link

package fakegss

// NoLoading: see link.go.
const NoLoading = ""
