module github.com/seed2651813c/gss/examples

go 1.25.0

require (
	github.com/seed2651813c/gss v0.0.0
	golang.org/x/net v0.58.0
)

require (
	golang.org/x/crypto v0.55.0
	golang.org/x/sys v0.47.0 // indirect
)

replace github.com/seed2651813c/gss => ../
