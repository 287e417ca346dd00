#!/usr/bin/env bash
# Generates the checked-in generated files again and fails if that changes a file.
set -euo pipefail
cd "$(dirname "$0")/.."

# Every file with a hash of its content: the work tree need not be clean.
tree() {
	git ls-files --cached --others --exclude-standard | sort -u | while IFS= read -r file; do
		[ ! -f "$file" ] || printf '%s %s\n' "$(git hash-object -- "$file")" "$file"
	done
}

before=$(tree)
go generate ./...
if ! diff <(echo "$before") <(tree); then
	echo "generate: the files above are not what go generate makes; commit what it made" >&2
	exit 1
fi
echo "generate: $(git grep -c '^//go:generate ' -- '*.go' | wc -l) files with //go:generate, nothing changed"
