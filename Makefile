# Each target is one script, which says what it does. `make demo` and `make test` install what they need.

.PHONY: demo test race asan fuzz lint generate

demo:
	ci/demo.sh

test:
	ci/test.sh

race:
	ci/test.sh race

asan:
	ci/test.sh asan

# FUZZTIME=1m make fuzz
fuzz:
	ci/test.sh fuzz

lint:
	ci/test.sh format vet staticcheck lint headers

generate:
	go generate ./...
