#!/bin/bash
# gophercloud's own acceptance tests against the built binary; see main.go.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec go run ./test/compat -hastack "$PWD/bin/hastack" "$@"
