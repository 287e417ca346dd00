module github.com/seed2651813c/gss

go 1.25
