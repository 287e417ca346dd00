module github.com/seed2651813c/gss

go 1.25

require (
	github.com/golang/mock v1.6.0
	github.com/google/go-cmp v0.7.0
)
