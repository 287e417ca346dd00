module github.com/seed2651813c/gss/examples

go 1.25.0

require (
	github.com/seed2651813c/gss v0.0.0
	golang.org/x/net v0.58.0
)

replace github.com/seed2651813c/gss => ../
