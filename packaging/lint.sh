#!/bin/bash
# The checks that need no tests: format, vet, and golangci-lint with the
# project's own list. The linter is built from its pinned version once.
#   lint.sh [vet]    with vet, without golangci-lint
set -euo pipefail
cd "$(dirname "$0")/.."
bad=$(gofmt -l cmd internal test)
[ -z "$bad" ] || { echo "not gofmt'ed: $bad" >&2; exit 1; }
go vet ./...
[ "${1:-}" != vet ] || exit 0
version=v2.15.0
lint=bin/golangci-lint
[ -x $lint ] || GOBIN=$PWD/bin go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
$lint run ./...
