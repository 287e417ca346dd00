#!/usr/bin/env bash
# Runs the checks and tests of this project, each step timed:
#
#   ci/test.sh              all steps, in the order below, whatever fails
#   ci/test.sh lint asan    only these, up to the first that fails
#
# The last line of the whole run counts the tests of the runs on MIT, Heimdal and GNU gss.
set -euo pipefail
cd "$(dirname "$0")/.."

steps="install format vet platforms staticcheck lint headers coverage mit heimdal gnu race asan fuzz modules generate"

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2

# How long each fuzz function runs.
fuzztime=${FUZZTIME:-5s}

# go test, as every step runs it: testreport NAME [its flags] -- [flags and packages of go test]
tests() {
	local report=()
	while [ "$1" != -- ]; do
		report+=("$1")
		shift
	done
	shift
	go test -json -count=1 -shuffle=on -timeout=15m "$@" | "$tmp/testreport" "${report[@]}"
}

# tests_on KIND, then as tests: the library must be the one that is really used.
tests_on() {
	local kind=$1
	shift
	GSSAPI_LIBRARY=$kind GSS_REQUIRE_LIBRARY=$kind tests -require TestRequiredLibrary "$@"
}

# The suite on one library.
suite() {
	local kind=$1
	shift
	tests_on "$kind" -name "$kind" -totals "$totals" -- "$@"
}

# All packages but those of ci/, whose tests are the same on every library.
library_packages() { go list ./... | grep -v /ci/; }

# Packages that cross into C, or use one that does.
cgo_packages() { go list . ./gssapi/... | grep -v /gsstest; }

step_install() { bash ci/install.sh test; }

step_format() {
	local files
	files=$(gofmt -l .)
	if [ -n "$files" ]; then
		printf 'gofmt would change:\n%s\n' "$files"
		return 1
	fi
}

step_vet() { go vet ./...; }

# Programs build everywhere: without cgo every call answers ErrUnavailable. With cgo, other
# systems than this one need a C compiler for them, which is not here.
step_platforms() {
	local os
	for os in linux darwin windows freebsd; do
		echo "GOOS=$os CGO_ENABLED=0"
		GOOS=$os CGO_ENABLED=0 go vet ./...
	done
}

step_staticcheck() {
	if ! go run "$staticcheck" -version; then
		warn "staticcheck could not be fetched and DID NOT RUN; is the Go module proxy out of reach?"
		return
	fi
	go run "$staticcheck" ./...
}

step_lint() { go run ./ci/lint; }

step_headers() { go run ./ci/checkheader; }

# docs/functions.md is about the libraries of Debian 12.
step_coverage() {
	if ! grep -q '^12' /etc/debian_version 2>/dev/null; then
		go run ./ci/coverage
		return
	fi
	go run ./ci/coverage -docs "$tmp/functions.md"
	diff docs/functions.md "$tmp/functions.md"
}

# What each of a thousand connections sends and gets in the runs below: a mebibyte.
manyBytes=1048576

step_mit() { GSSAPI_TEST_CONN_BYTES=$manyBytes suite mit ./...; }

step_heimdal() {
	local packages
	packages=$(library_packages)
	GSSAPI_TEST_CONN_BYTES=$manyBytes suite heimdal $packages
}

step_gnu() {
	local packages
	packages=$(library_packages)
	suite gnu $packages
}

step_race() {
	local packages
	packages=$(library_packages)
	tests_on mit -name "race, mit" -- -race $packages
	packages=$(cgo_packages)
	tests_on heimdal -name "race, heimdal" -- -race $packages
}

step_asan() {
	local packages kind
	packages=$(cgo_packages)
	for kind in mit heimdal gnu; do
		# The slow way of unwinding finds the module that lsan.supp names.
		ASAN_OPTIONS=fast_unwind_on_malloc=0 LSAN_OPTIONS="suppressions=$PWD/ci/lsan.supp:print_suppressions=0" \
			tests_on "$kind" -name "asan, $kind" -- -asan $packages
	done
}

step_fuzz() {
	local packages package listed name n=0
	packages=$(go list ./...)
	for package in $packages; do
		listed=$(go test -list '^Fuzz' "$package")
		for name in $(sed -n '/^Fuzz/p' <<<"$listed"); do
			echo "$package $name"
			GSSAPI_LIBRARY=mit go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" "$package"
			n=$((n + 1))
		done
	done
	echo "$n fuzz functions, $fuzztime each"
}

# Directories with a go.mod of their own: what may import third-party modules.
step_modules() {
	local dir kind flags
	for dir in $(git ls-files '*/go.mod' | xargs -r -n 1 dirname); do
		echo "$dir"
		(
			cd "$dir"
			go vet ./...
			for kind in mit heimdal; do
				flags=
				[ "$kind" != mit ] || flags=-race
				# shellcheck disable=SC2086 # none or one
				GSSAPI_LIBRARY=$kind GSS_REQUIRE_LIBRARY=$kind tests -name "$dir, $kind" -none-ok -- $flags ./...
			done
		)
	done
}

# Last of all: it writes into the work tree.
step_generate() { ci/generate.sh; }

# Said at once and again at the end.
warn() {
	echo "WARNING: $*"
	echo "WARNING: $*" >>"$warnings"
}

if [ $# -gt 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf -- "$tmp"' EXIT
	totals=${GSS_CI_TOTALS:-$tmp/totals}
	warnings=${GSS_CI_WARNINGS:-/dev/null}
	go build -o "$tmp/testreport" ./ci/testreport
	for step; do
		case " $steps " in
		*" $step "*) "step_$step" ;;
		*)
			echo "test.sh: unknown step $step; the steps are $steps" >&2
			exit 2
			;;
		esac
	done
	exit
fi

# Each step is a process of its own: then the first command in it that fails ends it.
out=$(mktemp -d)
trap 'rm -rf -- "$out"' EXIT
export GSS_CI_TOTALS=$out/totals GSS_CI_WARNINGS=$out/warnings
: >"$GSS_CI_TOTALS"
: >"$GSS_CI_WARNINGS"
failed=
for step in $steps; do
	echo "== $step"
	began=$SECONDS
	if bash ci/test.sh "$step" </dev/null; then
		echo "== $step: passed in $((SECONDS - began)) s"
	else
		echo "== $step: FAILED in $((SECONDS - began)) s"
		failed="$failed $step"
	fi
done
echo "== all steps: $SECONDS s"
cat "$GSS_CI_WARNINGS"
[ -z "$failed" ] || echo "== failed steps:$failed"
go run ./ci/testreport -sum "$GSS_CI_TOTALS"
[ -z "$failed" ]
