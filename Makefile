# Each target is a script of ci/ and a go command. GSSAPI_LIBRARY=mit, heimdal or gnu chooses the C library.

.PHONY: demo test

# Three clients, an acceptor, two workers: established contexts go from process to process.
demo:
	ci/install.sh demo
	cd examples && go run ./transfer

test:
	ci/install.sh test
	go test ./...
	cd examples && go vet ./... && go test ./...
