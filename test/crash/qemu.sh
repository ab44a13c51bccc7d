#!/bin/bash
# Ten chosen points of the crash matrix with real QEMU servers and networks,
# in a network namespace of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "hastack: the crash matrix boots servers: run as root" >&2; exit 1; }
ns=hastack-crash-$$
cleanup() {
  local rc=$?
  trap - EXIT
  ip netns pids "$ns" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
  ip netns del "$ns" 2>/dev/null || true
  exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT TERM
ip netns add "$ns"
ip -n "$ns" link set lo up
points='nova\.boot\.(7\.after-record|11\.after-effect|13\.before-effect|20\.after-effect|22\.before-effect|22\.after-effect|28\.after-effect)'
points+='|nova\.delete\.(host\.after-effect|ports\.before-effect|allocation\.after-effect)'
HASTACK_BIN=$PWD/bin/hastack HASTACK_CRASH_DRIVER=qemu HASTACK_CRASH_IMAGE=$PWD/bin/image/disk.qcow2 \
  HASTACK_CRASH_POINTS="^($points)\$" ip netns exec "$ns" go test -count 1 -timeout 15m -v ./test/crash
