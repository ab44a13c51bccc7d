#!/bin/bash
# Runs, on the engines that the environment names, the packages whose tests
# look for one: the seam suites and every service that has a database.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${HASTACK_TEST_MYSQL:?}" "${HASTACK_TEST_RABBITMQ:?}" "${HASTACK_TEST_MEMCACHED:?}"
mapfile -t packages < <(grep -rlE 'HASTACK_TEST_(MYSQL|RABBITMQ|MEMCACHED)|dbtest\.New|(keystone|glance|placement|nova|neutron)test\.New' \
  --include='*_test.go' internal | xargs -n1 dirname | sort -u | sed 's|^|./|')
go test -count 1 -timeout 15m "${packages[@]}"
