#!/bin/bash
# run.sh [SCRIPT]: runs an end-to-end script of the one-machine cloud (cloud.sh)
# in a network namespace of its own, so that nothing that it sends can leave,
# and compares what the machine looks like before and after.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "hastack: the end-to-end run boots servers: run as root" >&2; exit 1; }

ns=hastack-e2e-$$
work=$(mktemp -d /tmp/hastack-e2e.XXXXXX)
export STATE_DIR=$work/state WORK=$work BIN=$PWD/bin/hastack IMAGE_FILE=$PWD/bin/image/disk.qcow2
export HOME=$work/home
mkdir -p "$HOME"

cleanup() {
  local rc=$?
  trap - EXIT
  if [ $rc -ne 0 ] && [ -f "$STATE_DIR/log/hastack.log" ]; then
    echo "--- the cloud's log, last lines ---"
    grep -v '"level":"DEBUG"' "$STATE_DIR/log/hastack.log" | tail -n 60
    [ -z "${E2E_KEEP_LOG:-}" ] || cp "$STATE_DIR/log/hastack.log" "$E2E_KEEP_LOG"
  fi
  [ ! -d "$STATE_DIR" ] || ip netns exec "$ns" "$BIN" reset --yes --state-dir "$STATE_DIR" || true
  ip netns pids "$ns" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
  ip netns del "$ns" 2>/dev/null || true
  rm -rf "$work"
  exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ip netns add "$ns"
ip -n "$ns" link set lo up
in_ns() { ip netns exec "$ns" "$@"; }

in_ns test/e2e/snapshot.sh >"$work/before"
in_ns "test/e2e/${1:-cloud.sh}"
in_ns "$BIN" reset --yes --state-dir "$STATE_DIR"
in_ns test/e2e/snapshot.sh >"$work/after"
if ! diff "$work/before" "$work/after"; then
  echo "FAIL reset leaves something behind (see above)" >&2
  exit 1
fi
[ ! -e "$STATE_DIR" ] || { echo "FAIL reset leaves $STATE_DIR" >&2; exit 1; }
echo "ok   reset leaves nothing behind"
