#!/usr/bin/env bash
# Installs what the demonstration needs, and runs it: examples/transfer. Arguments are passed on to it.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/install.sh demo
cd examples
exec go run ./transfer "$@"
