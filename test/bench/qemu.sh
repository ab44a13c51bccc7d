#!/bin/bash
# Measures real servers, in a network namespace of its own: the machine's own
# networks stay as they are. As root: test/bench/qemu.sh [COUNT]
set -euo pipefail
cd "$(dirname "$0")/../.."
ns=hastack-bench-$$
ip netns add "$ns"
trap 'ip netns del "$ns"' EXIT
ip -n "$ns" link set lo up
export HASTACK_BIN=${HASTACK_BIN:-$PWD/bin/hastack} HASTACK_BENCH_IMAGE=${HASTACK_BENCH_IMAGE:-$PWD/bin/image/disk.qcow2}
ip netns exec "$ns" go test -run '^$' -bench QEMU -benchtime "${1:-20}x" -timeout 20m ./test/bench
