#!/usr/bin/env bash
# Installs what the project's own targets need, on Debian and Ubuntu, as root or through sudo:
#
#   ci/install.sh demo    for `make demo`: a C compiler, MIT's KDC, the three GSS-API libraries
#   ci/install.sh [test]  for `make test` as well: headers, tools (valgrind among them), Heimdal's KDC, an LDAP server for
#                         the database of MIT's, an NTLM mechanism, what the tests of examples talk to (Python's
#                         GSS-API, curl, Apache, sshd, PostgreSQL, Cyrus SASL, Dovecot, and Chromium, which is 125 MB to
#                         download and 415 MB on disk); on Debian 12 and amd64 cross compilers, an emulator and the
#                         libraries of other processors
#
# Nothing changes if nothing is missing. On other systems it installs nothing: it names the packages, and fails if
# a program is missing. It ends with 1 and a sentence if something is not there in the end.
set -eu
export LC_ALL=C

# A name with | is one package under the names it has in different releases.
demo="gcc libc6-dev krb5-kdc krb5-admin-server krb5-user
	libgssapi-krb5-2 libgssapi3-heimdal|libgssapi3t64-heimdal libgss3|libgss3t64"
all="$demo pkg-config|pkgconf make git ca-certificates libkrb5-dev heimdal-multidev libgss-dev shishi python3-gssapi curl
	openssh-client libnss-wrapper krb5-kdc-ldap valgrind apache2-bin libapache2-mod-auth-gssapi"

# What step cross of ci/test.sh builds with, for Linux on arm64 and s390x and for macOS, and the emulator.
cross="gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-s390x-linux-gnu libc6-dev-s390x-cross clang lld qemu-user"

# Heimdal's KDC cannot be installed beside MIT's, so it is unpacked below this directory. So are programs that would
# change this machine if they were installed: an LDAP server that starts with it, a mechanism that every program gets.
# Package gsstest looks for them here. And libraries of other processors, of which this machine's dpkg is not told.
unpacked=/usr/local/lib/gsstest

top=$(cd "$(dirname "$0")/.." && pwd)
root=()      # what makes a command run as root
updated=     # apt-get update was run
policy=      # we made policy-rc.d
tmp=         # for downloads
partial=     # for what is not unpacked completely yet

say() { printf 'install.sh: %s\n' "$*"; }
die() { say "$@" >&2; exit 1; }

cleanup() {
	if [ -n "$policy" ]; then "${root[@]}" rm -f /usr/sbin/policy-rc.d; policy=; fi
	if [ -n "$tmp" ]; then "${root[@]}" rm -rf -- "$tmp"; tmp=; fi
	if [ -n "$partial" ]; then "${root[@]}" rm -rf -- "$partial"; partial=; fi
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
		apt-get install -qq -y --no-install-recommends --no-remove -o DPkg::Lock::Timeout=300 "${packages[@]}" >/dev/null ||
		die "apt-get could not install: ${packages[*]}"
}

# needs NAME...: the packages, their dependencies and theirs, but not the alternatives and Recommends
needs() { apt-cache depends --recurse --important "$@" | grep '^[a-z0-9]' | sort -u; }

# make_tmp: as root, apt downloads as the user _apt, who must be able to write there.
make_tmp() {
	tmp=$(mktemp -d)
	chmod 755 "$tmp"
	if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1; then chown _apt "$tmp"; fi
}

# extract DEB...: into $partial
extract() {
	local deb
	"${root[@]}" mkdir -p "$unpacked"
	partial=$("${root[@]}" mktemp -d "$unpacked/.partial.XXXXXX")
	for deb; do "${root[@]}" dpkg -x "$deb" "$partial"; done
	"${root[@]}" chmod -R ug-s "$partial" # ksu
	"${root[@]}" chmod 755 "$partial"
}

# complete DIRECTORY: that is what $partial is from now on
complete() {
	"${root[@]}" mkdir -p "${1%/*}"
	"${root[@]}" rm -rf -- "$1"
	"${root[@]}" mv -T -- "$partial" "$1"
	partial=
	"${root[@]}" rm -rf -- "$tmp"
	tmp=
}

# unpack NAME FILE... -- PACKAGE...: the packages into a directory below $unpacked, and the libraries that they need as
# usual; unless the files are there, which may be patterns
unpack() {
	local dir=$unpacked/$1 file files=() packages ours more lib there=1
	shift
	while [ "$1" != -- ]; do
		files+=("$1")
		# shellcheck disable=SC2086 # a pattern
		[ -e $dir/$1 ] || there=
		shift
	done
	shift
	[ -z "$there" ] || return 0
	become_root "$1"
	available "$1" || update
	available "$1" || die "apt has no $1; on Ubuntu, enable universe"
	# With these libraries of their own, of the same version, they do not depend on what else is installed.
	ours=$(needs "$@" | grep -E '^lib.*-heimdal$|^libldap-?[0-9]' || true)
	packages="$* $ours"
	# The others are installed as usual.
	# shellcheck disable=SC2086 # lists of words
	more=$(apt-cache depends --important $packages | sed -n 's/^ *Depends: \(lib.*\)/\1/p' |
		grep -vE 'heimdal|^libldap-?[0-9]' | sort -u)
	# shellcheck disable=SC2086
	more=$(missing $more)
	# shellcheck disable=SC2086
	[ -z "$more" ] || install $more

	say "unpacking $1 into $dir"
	make_tmp
	# A package that was superseded since the last update is gone from the archive: then update, and try again.
	# shellcheck disable=SC2086
	if ! (cd "$tmp" && apt-get download -qq $packages); then
		update
		(cd "$tmp" && apt-get download -qq $packages) || die "apt-get could not download: $packages"
	fi
	extract "$tmp"/*.deb
	lib=$(find "$partial" -name '*.so*' -printf '%h:' | tr : '\n' | sort -u | paste -sd :)
	for file in "${files[@]}"; do
		# shellcheck disable=SC2086
		[ -e $partial/$file ] || die "$1 has no $file any more"
		# shellcheck disable=SC2086
		if LD_LIBRARY_PATH=$lib ldd $partial/$file 2>/dev/null | grep 'not found' >&2; then
			die "$file lacks these libraries"
		fi
	done
	complete "$dir"
}

unpack_all() {
	unpack heimdal usr/lib/heimdal-servers/kdc usr/bin/kadmin.heimdal usr/sbin/kstash usr/sbin/kcm -- \
		heimdal-kdc heimdal-clients heimdal-kcm
	# Of krb5-kdc-ldap, which is installed, the schema, that an installation without documentation lacks.
	unpack ldap usr/sbin/slapd usr/bin/ldapmodify usr/share/doc/krb5-kdc-ldap/kerberos.schema.gz -- \
		slapd ldap-utils krb5-kdc-ldap
	unpack sshd usr/sbin/sshd -- openssh-server
	unpack ntlmssp 'usr/lib/*/gssntlmssp/gssntlmssp.so' -- gss-ntlmssp
	unpack_postgresql
	# Cyrus SASL's sample programs, and its mechanisms of GSS-API, which slapd uses too. GS2-KRB5 looks for its users in a
	# database, which need not be there.
	unpack sasl usr/bin/sasl-sample-client usr/sbin/sasl-sample-server 'usr/lib/*/sasl2/libgssapiv2.so' \
		'usr/lib/*/sasl2/libsasldb.so' -- sasl2-bin libsasl2-modules-gssapi-mit libsasl2-modules-db
	unpack dovecot usr/sbin/dovecot usr/lib/dovecot/imap usr/lib/dovecot/modules/auth/libmech_gssapi.so -- \
		dovecot-core dovecot-imapd dovecot-gssapi
}

# unpack_postgresql: the release's version of the server, and psql
unpack_postgresql() {
	local file server
	for file in "$unpacked"/postgresql/usr/lib/postgresql/*/bin/postgres; do
		[ ! -e "$file" ] || return 0
	done
	available postgresql || update
	server=$(apt-cache depends --important postgresql | sed -n 's/^ *Depends: \(postgresql-[0-9]*\)$/\1/p')
	[ -n "$server" ] || die "apt has no postgresql"
	unpack postgresql 'usr/lib/postgresql/*/bin/postgres' 'usr/lib/postgresql/*/bin/psql' -- \
		"$server" "${server/-/-client-}"
}

# install_browser: Debian has it as a package, Ubuntu as a snap, which apt does not install. The tests look for other
# names of it too, and say so if there is none.
install_browser() {
	local name
	for name in chromium chromium-browser google-chrome; do
		if command -v "$name" >/dev/null; then return; fi
	done
	available chromium || update
	if available chromium; then
		say "chromium is 125 MB to download and takes 415 MB"
		install chromium
	else
		say "apt has no chromium: the test of examples/web with it is skipped"
	fi
}

# install_foreign ARCHITECTURE PACKAGE...: unpacks packages of another architecture and what they depend on. apt
# looks for them where this machine's come from, with lists of its own, and takes nothing for installed.
install_foreign() {
	local at=$unpacked/foreign/$1 apt
	[ ! -d "$at" ] || return 0
	become_root "libraries of $1"
	update # or apt may not know whose its sources are
	say "unpacking the libraries of $1 into $at"
	make_tmp
	mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial"
	: >"$tmp/status"
	# shellcheck disable=SC2016 # the format is apt's
	apt-get indextargets 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Codename: bookworm' \
		--format 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(CODENAME) $(COMPONENT)' |
		sort -u >"$tmp/sources"
	[ -s "$tmp/sources" ] || die "apt has no source that is Debian 12"
	# What the machine's configuration has apt do besides is for the machine's own packages.
	cat >"$tmp/conf" <<-EOF
		#clear APT::Architectures;
		#clear APT::Update;
		#clear DPkg;
		#clear Acquire::IndexTargets::deb::DEP-11;
		APT::Architecture "$1";
		APT::Architectures { "$1"; };
		APT::Install-Recommends "false";
		Acquire::Languages "none";
		Dir::State::lists "$tmp/lists";
		Dir::State::status "$tmp/status";
		Dir::Cache "$tmp/cache";
		Dir::Etc::sourcelist "$tmp/sources";
		Dir::Etc::sourceparts "-";
	EOF
	if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1; then chown -R _apt "$tmp"; fi
	apt="apt-get -qq -c $tmp/conf"
	$apt update || die "apt-get update failed for $1"
	shift
	$apt install -y --download-only "$@" >/dev/null || die "apt-get could not download, for another processor: $*"
	extract "$tmp"/cache/archives/*.deb
	complete "$at"
}

# install_cross gets what step cross of ci/test.sh needs. Elsewhere that says that it does not run.
install_cross() {
	local lacking
	if [ "$(dpkg --print-architecture)" != amd64 ] || ! grep -q '^12' /etc/debian_version 2>/dev/null; then
		say "tests on other processors run on Debian 12 and amd64 only; not here"
		return
	fi
	# shellcheck disable=SC2086 # a list of words
	lacking=$(missing $cross)
	# shellcheck disable=SC2086
	[ -z "$lacking" ] || install $lacking
	install_foreign arm64 libgssapi-krb5-2 libgssapi3-heimdal
	install_foreign s390x libgssapi-krb5-2 libgssapi3-heimdal
	# This machine's compiler makes code for i386 too, but has no C library for it.
	install_foreign i386 libgssapi-krb5-2 libgssapi3-heimdal libc6-dev libgcc-12-dev
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
	say "  Fedora, RHEL:  gcc make git pkgconf krb5-server krb5-workstation krb5-devel heimdal-devel heimdal-libs python3-gssapi curl valgrind httpd mod_auth_gssapi chromium"
	say "  openSUSE:      gcc make git pkgconf krb5-server krb5-client krb5-devel libheimdal-devel python3-gssapi curl valgrind apache2 chromium"
	say "  Alpine:        bash gcc musl-dev make git pkgconf krb5-server krb5 krb5-dev heimdal-dev valgrind"
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
	if [ "$stage" != demo ]; then
		unpack_all
		install_browser
		install_cross
	fi
else
	# shellcheck disable=SC2086
	elsewhere $programs
fi
go_toolchain
say "everything for \`make $stage\` is there"
