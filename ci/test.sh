#!/usr/bin/env bash
# Runs the checks and tests of this project, each step timed:
#
#   ci/test.sh              all steps, in the order below, whatever fails
#   ci/test.sh lint asan    only these, up to the first that fails
#
# The last line of the whole run counts the tests of the runs on MIT, Heimdal and GNU gss.
set -euo pipefail
cd "$(dirname "$0")/.."

steps="install format vet platforms staticcheck lint headers coverage mit heimdal gnu linked cross race asan fuzz modules generate"

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2

# How long each fuzz function runs.
fuzztime=${FUZZTIME:-3s}

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

# Packages that cross into C, and the one that puts the most strain on that. (Adapters use what package gssapi tests.)
core_packages=". ./gssapi ./gssapi/handoff"

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

# Programs build everywhere: without cgo every call answers ErrUnavailable. With cgo: step cross.
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

# In the runs below each of a thousand connections sends and gets a mebibyte, and ten
# thousand clients are handed to workers.
many() { export GSSAPI_TEST_CONN_BYTES=1048576 GSSAPI_TEST_HANDOFF_CLIENTS=10000; }

step_mit() {
	many
	suite mit ./...
}

step_heimdal() {
	local packages
	packages=$(library_packages)
	many
	suite heimdal $packages
}

step_gnu() {
	local packages
	packages=$(library_packages)
	suite gnu $packages
}

# linked KIND TAGS PACKAGES...: with the library that the tags link. GSSAPI_LIBRARY is not read.
linked() {
	local kind=$1 tags=$2
	shift 2
	GSSAPI_LIBRARY=/nonexistent GSS_REQUIRE_LIBRARY=$kind \
		tests -name "linked, $kind" -require TestLinked -- -tags "$tags" "$@"
}

# Build tag gss_link: on MIT all but what only takes long, and what binds the calls on the others.
step_linked() {
	linked mit gss_link -short $core_packages
	linked heimdal gss_link,gss_heimdal .
	linked gnu gss_link,gss_gnu .
}

# Where ci/install.sh has unpacked the libraries of other processors.
foreign=/usr/local/lib/gsstest/foreign

# Other processors than this one: Linux on one of 64 bits, on one with the big end first and on one of 32 bits, with
# the real libraries; and macOS, which can be compiled for and not run.
step_cross() {
	if [ ! -d "$foreign/i386" ]; then # which is unpacked last
		warn "the tests on other processors DID NOT RUN; ci/install.sh gets what they need on Debian 12 and amd64 only"
		return
	fi
	# This machine's compiler, with the C library that is for 32 bits.
	printf '#!/bin/sh\nexec gcc -m32 --sysroot=%s -B%s -L%s "$@"\n' \
		"$foreign/i386" "$foreign"/i386/usr/lib/gcc/*/*/ "$foreign"/i386/usr/lib/gcc/*/*/ >"$tmp/i686-linux-gnu-gcc"
	chmod +x "$tmp/i686-linux-gnu-gcc"
	go run ./ci/checkheader -cc "aarch64-linux-gnu-gcc,s390x-linux-gnu-gcc,$tmp/i686-linux-gnu-gcc"
	cross_emulated arm64 aarch64 mit # what is to be seen with Heimdal is seen on the next one too
	cross_emulated s390x s390x mit heimdal
	cross_386
	macos_sdk
	cross_macos arm64 arm64
	cross_macos amd64 x86_64
}

# cross_tests KIND PACKAGES...: without NTLM, whose plugin is this machine's, and without the test of LD_LIBRARY_PATH,
# which the programs for 386 do not read. What a fake library is told to do does not depend on the real one.
cross_tests() {
	local kind=$1 skip='^TestNTLM|^TestBrokenIsNotReplaced$'
	shift
	[ "$kind" = mit ] || skip+='|^TestFake'
	GSSAPI_LIBRARY=$kind GSS_REQUIRE_LIBRARY=$kind \
		tests -name "linux/$GOARCH, $kind" -- -short -vet=off -skip "$skip" "$@"
}

# What packages gssapi and handoff test of bytes, numbers and structs. (Not TestDescriptors: descriptors that come in
# vain stay open in the emulator.)
formats='^Test(AEAD|Bindings|Canonicalize|Export(Acceptor|Composite|Credential|Name)?|HandOver|HeaderErrors|Hello'
formats+='|ImportTwice|Info|Inquire.*|Interop|IOV(Arrangements|DCEStyle|Lengths|Order)?|Key|Keys|MIC.*|MaxMessage|Messages?'
formats+='|Meta|PAC|PeerNames|PseudoRandom|Seal.*|Send|ServiceKey|Ticket|TLSExporterAndUnique)$'

# cross_emulated GOARCH CPU KIND...: in an emulator, which is slow. The realm's programs are this machine's.
cross_emulated() (
	local cpu=$2 kind
	export CGO_ENABLED=1 GOARCH=$1 CC=$cpu-linux-gnu-gcc GSS_TEST_EXEC="qemu-$cpu -L $foreign/$1"
	shift 2
	for kind; do
		cross_tests "$kind" -exec "$GSS_TEST_EXEC" .
		cross_tests "$kind" -exec "$GSS_TEST_EXEC" -run "$formats" ./gssapi ./gssapi/handoff
	done
)

# This machine runs programs of 32 bits itself. They are linked with the places of their libraries.
cross_386() (
	local packages kind root=$foreign/i386
	if ! "$root/lib/ld-linux.so.2" --version >/dev/null 2>&1; then
		warn "this kernel runs no programs of 32 bits: the tests on linux/386 DID NOT RUN"
		return
	fi
	export CGO_ENABLED=1 GOARCH=386 CC=$tmp/i686-linux-gnu-gcc
	export CGO_LDFLAGS="-Wl,--dynamic-linker=$root/lib/ld-linux.so.2,--disable-new-dtags,-rpath,$root/usr/lib/i386-linux-gnu:$root/lib/i386-linux-gnu"
	packages=$(library_packages)
	go vet $packages
	for kind in mit heimdal; do
		cross_tests "$kind" .
		cross_tests "$kind" -run "$formats" ./gssapi ./gssapi/handoff
	done
)

# macos_sdk makes a stand-in for Apple's SDK, see ci/macos.txt. The C library has what the headers declare and what
# compilers use by themselves; GSS.framework has RFC 2744.
macos_sdk() {
	local sdk=$tmp/sdk
	awk -v dir="$sdk/usr/include/" '/^-- / { file = dir $2; path = file; sub("/[^/]*$", "", path); system("mkdir -p " path); print "#pragma once" >file; next }
		file { print >file }' ci/macos.txt
	tbd usr/lib/libSystem dyld_stub_binder ___stack_chk_fail ___stack_chk_guard _bzero ___stderrp \
		$(grep -rhoE '[a-z_]+\(' "$sdk/usr/include" | sed 's/^/_/; s/($//' | sort -u)
	tbd System/Library/Frameworks/GSS.framework/GSS \
		$(sed -n '/define GSSGO_REQUIRED/,/define GSSGO_OPTIONAL/s/^ *F(OM_uint32, \(gss_[a-z_]*\),.*/_\1/p' shim.h)
}

# tbd LIBRARY SYMBOL...: what the linker wants to know of a library
tbd() {
	local file=$1 targets='[arm64-macos, x86_64-macos]' symbols
	shift
	symbols=$(printf ', %s' "$@")
	mkdir -p "$tmp/sdk/${file%/*}"
	cat >"$tmp/sdk/$file.tbd" <<-EOF
		--- !tapi-tbd
		tbd-version: 4
		targets: $targets
		install-name: /$file
		exports:
		  - targets: $targets
		    symbols: [${symbols#, }]
		...
	EOF
}

# cross_macos GOARCH CPU: that the code is C and Go for this system, that cgo understands what the compiler made of it,
# and that the shim links, by itself and to GSS.framework. Not that Apple's headers and libraries are as we think. (Step
# platforms has the tests, and what does not import "C".)
cross_macos() (
	local tags flags
	export CGO_ENABLED=1 GOOS=darwin GOARCH=$1 CC="clang --target=$2-apple-macos12 -isysroot $tmp/sdk"
	export CGO_CFLAGS="-O2 -g -Wall -Werror" CGO_LDFLAGS=-fuse-ld=lld
	for tags in '' gss_link; do
		go build -tags "$tags" .
		flags=$(go list -tags "$tags" -f '{{join .CgoCFLAGS " "}} {{join .CgoLDFLAGS " "}}' .)
		$CC -Wall -Wextra -Werror -fuse-ld=lld -dynamiclib -o "$tmp/shim.dylib" -x c shim.c -x none $flags
		echo "darwin/$1: linked${tags:+ with $tags}"
	done
)

step_race() {
	local packages
	packages=$(library_packages)
	tests_on mit -name "race, mit" -- -race $packages
	tests_on heimdal -name "race, heimdal" -- -race . ./gssapi
}

step_asan() {
	# The slow way of unwinding finds the module that lsan.supp names.
	export ASAN_OPTIONS=fast_unwind_on_malloc=0 LSAN_OPTIONS="suppressions=$PWD/ci/lsan.supp:print_suppressions=0"
	tests_on mit -name "asan, mit" -- -asan $core_packages
	tests_on heimdal -name "asan, heimdal" -- -asan . ./gssapi
	tests_on gnu -name "asan, gnu" -- -asan . ./gssapi
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
	local dir kind
	for dir in $(git ls-files '*/go.mod' | xargs -r -n 1 dirname); do
		echo "$dir"
		(
			cd "$dir"
			go vet ./...
			for kind in mit heimdal; do
				GSSAPI_LIBRARY=$kind GSS_REQUIRE_LIBRARY=$kind tests -name "$dir, $kind" -none-ok -- -race ./...
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
