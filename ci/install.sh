#!/usr/bin/env bash
# Installs what the project's own targets need, on Debian and Ubuntu, as root or through sudo:
#
#   ci/install.sh demo    for `make demo`: a C compiler, MIT's KDC, the three GSS-API libraries
#   ci/install.sh [test]  for `make test` as well: headers, tools, Heimdal's KDC, and Python's GSS-API, which
#                         the tests of examples/conn talk to
#
# Nothing changes if nothing is missing. On other systems it installs nothing: it names the packages, and fails if
# a program is missing. It ends with 1 and a sentence if something is not there in the end.
set -eu
export LC_ALL=C

# A name with | is one package under the names it has in different releases.
demo="gcc libc6-dev krb5-kdc krb5-admin-server krb5-user
	libgssapi-krb5-2 libgssapi3-heimdal|libgssapi3t64-heimdal libgss3|libgss3t64"
all="$demo pkg-config|pkgconf make git ca-certificates libkrb5-dev heimdal-multidev libgss-dev shishi python3-gssapi"

# Heimdal's KDC cannot be installed beside MIT's, so it is unpacked here. Package gsstest looks for it here too.
heimdal=/usr/local/lib/gsstest/heimdal

top=$(cd "$(dirname "$0")/.." && pwd)
root=()      # what makes a command run as root
updated=     # apt-get update was run
policy=      # we made policy-rc.d
tmp=         # for downloads
unpacked=    # for a Heimdal that is not complete yet

say() { printf 'install.sh: %s\n' "$*"; }
die() { say "$@" >&2; exit 1; }

cleanup() {
	if [ -n "$policy" ]; then "${root[@]}" rm -f /usr/sbin/policy-rc.d; policy=; fi
	if [ -n "$tmp" ]; then "${root[@]}" rm -rf -- "$tmp"; tmp=; fi
	if [ -n "$unpacked" ]; then "${root[@]}" rm -rf -- "$unpacked"; unpacked=; fi
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# missing NAME...: those of the packages that are not installed, the first name of each
missing() {
	local have name alternative found
	# shellcheck disable=SC2016 # the format is dpkg's
	have=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' 2>/dev/null) "
	for name; do
		found=
		for alternative in ${name//|/ }; do
			case $have in *" installed:$alternative "*) found=1 ;; esac
		done
		[ -n "$found" ] || printf '%s\n' "$name"
	done
}

become_root() {
	[ "$(id -u)" != 0 ] || return 0
	command -v sudo >/dev/null || die "needs root or sudo to install: ${*%%|*}"
	root=(sudo)
}

update() {
	[ -z "$updated" ] || return 0
	say "running apt-get update"
	"${root[@]}" apt-get update -qq || die "apt-get update failed"
	updated=1
}

# available NAME: apt can install it
available() { apt-cache show --no-all-versions "$1" 2>/dev/null | grep -q '^Package:'; }

# install NAME...: through apt, asking nothing, removing nothing, starting nothing
install() {
	local name alternative pick packages=()
	become_root "$@"
	update
	for name; do
		pick=${name%%|*}
		for alternative in ${name//|/ }; do
			if available "$alternative"; then pick=$alternative; break; fi
		done
		packages+=("$pick")
	done
	say "installing ${packages[*]}"
	# krb5-kdc's scripts would start a KDC that has no realm. They ask policy-rc.d first; 101 is "no". Where
	# there is one already, it decides. Ours lasts as long as this script.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		policy=1
		printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee /usr/sbin/policy-rc.d >/dev/null
		"${root[@]}" chmod 755 /usr/sbin/policy-rc.d
	fi
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends --no-remove "${packages[@]}" >/dev/null ||
		die "apt-get could not install: ${packages[*]}"
}

# needs NAME...: the packages, their dependencies and theirs, but not the alternatives and Recommends
needs() { apt-cache depends --recurse --important "$@" | grep '^[a-z0-9]' | sort -u; }

install_heimdal() {
	local packages libraries more lib
	[ ! -x "$heimdal/usr/lib/heimdal-servers/kdc" ] || return 0
	become_root heimdal-kdc
	available heimdal-kdc || update
	available heimdal-kdc || die "apt has no heimdal-kdc; on Ubuntu, enable universe"
	# With its own libraries, of the same version, it does not depend on what else is installed.
	libraries=$(needs heimdal-kdc heimdal-clients | grep -E '^lib.*-heimdal$')
	packages="heimdal-kdc heimdal-clients $libraries"
	# Libraries that are not Heimdal's are installed as usual.
	# shellcheck disable=SC2086 # lists of words
	more=$(apt-cache depends --important $packages | sed -n 's/^ *Depends: \(lib.*\)/\1/p' |
		grep -v heimdal | sort -u)
	# shellcheck disable=SC2086
	more=$(missing $more)
	# shellcheck disable=SC2086
	[ -z "$more" ] || install $more

	say "unpacking Heimdal's KDC into $heimdal"
	tmp=$(mktemp -d)
	# As root, apt downloads as the user _apt, who must be able to write here.
	if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1; then chown _apt "$tmp"; chmod 755 "$tmp"; fi
	# A package that was superseded since the last update is gone from the archive: then update, and try again.
	# shellcheck disable=SC2086
	if ! (cd "$tmp" && apt-get download -qq $packages); then
		update
		(cd "$tmp" && apt-get download -qq $packages) || die "apt-get could not download: $packages"
	fi
	"${root[@]}" mkdir -p "${heimdal%/*}"
	unpacked=$("${root[@]}" mktemp -d "${heimdal%/*}/.heimdal.XXXXXX")
	for deb in "$tmp"/*.deb; do "${root[@]}" dpkg -x "$deb" "$unpacked"; done
	"${root[@]}" chmod -R ug-s "$unpacked" # ksu
	"${root[@]}" chmod 755 "$unpacked"
	for lib in "$unpacked"/usr/lib/*-*-*; do break; done
	for program in usr/lib/heimdal-servers/kdc usr/bin/kadmin.heimdal usr/sbin/kstash; do
		[ -x "$unpacked/$program" ] || die "heimdal-kdc and heimdal-clients have no $program any more"
		if LD_LIBRARY_PATH=$lib ldd "$unpacked/$program" | grep 'not found' >&2; then
			die "$program lacks these libraries"
		fi
	done
	"${root[@]}" rm -rf -- "$heimdal"
	"${root[@]}" mv -T -- "$unpacked" "$heimdal"
	unpacked=
}

# elsewhere: no apt. Says what is missing and where it comes from.
elsewhere() {
	local program lacking=()
	PATH=$PATH:/usr/sbin:/usr/local/sbin:/usr/lib/mit/sbin:/opt/homebrew/opt/krb5/sbin:/usr/local/opt/krb5/sbin
	for program in "$@"; do
		command -v "$program" >/dev/null || lacking+=("$program")
	done
	if [ ${#lacking[@]} = 0 ]; then
		say "no apt here; the programs needed are there"
		return
	fi
	say "this system has no apt; install by hand:"
	say "  Fedora, RHEL:  gcc make git pkgconf krb5-server krb5-workstation krb5-devel heimdal-devel heimdal-libs python3-gssapi"
	say "  openSUSE:      gcc make git pkgconf krb5-server krb5-client krb5-devel libheimdal-devel python3-gssapi"
	say "  Alpine:        bash gcc musl-dev make git pkgconf krb5-server krb5 krb5-dev heimdal-dev"
	say "  Homebrew:      krb5 pkgconf (and the Xcode command line tools)"
	say "  FreeBSD:       bash gmake git pkgconf krb5 heimdal"
	die "missing: ${lacking[*]}"
}

# go_toolchain: it is not apt's to install, since distributions have older ones.
go_toolchain() {
	local want have
	want=$(sed -n 's/^go \([0-9.]*\)$/\1/p' "$top/go.mod")
	command -v go >/dev/null || die "Go $want or newer is needed, from https://go.dev/dl/"
	# In the module's directory an older go command fetches the right one, if it can.
	have=$(cd "$top" && go env GOVERSION 2>/dev/null) || die "Go $want or newer is needed, from https://go.dev/dl/; this one cannot become it: $(command -v go)"
	have=${have#go}
	if [ "$(printf '%s\n' "$want" "${have%%[!0-9.]*}" | sort -V | head -n 1)" != "$want" ]; then
		die "Go $want or newer is needed, from https://go.dev/dl/; this is $have: $(command -v go)"
	fi
}

stage=${1:-test}
case $stage in
demo) wanted=$demo programs="cc krb5kdc kdb5_util kadmin.local kinit" ;;
test) wanted=$all programs="cc make git pkg-config krb5kdc kdb5_util kadmin.local kinit" ;;
*) die "usage: ci/install.sh [demo|test]" ;;
esac
[ $# -le 1 ] || die "usage: ci/install.sh [demo|test]"

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
	# shellcheck disable=SC2086 # a list of words
	lacking=$(missing $wanted)
	if [ -n "$lacking" ]; then
		# shellcheck disable=SC2086
		install $lacking
	fi
	[ "$stage" = demo ] || install_heimdal
else
	# shellcheck disable=SC2086
	elsewhere $programs
fi
go_toolchain
say "everything for \`make $stage\` is there"
