#!/bin/bash
# nodes.sh: a server joins a running cluster and leaves it again, on a lab of
# four: three that do everything, and a compute server of its own. Guests,
# agents and memberships are looked at through the API before and after.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "hastack: a lab makes machines and networks: run as root" >&2; exit 1; }

work=$(mktemp -d /tmp/hastack-nodes.XXXXXX)
export HASTACK_STATE_DIR=$work/state
BIN=${BIN:-$PWD/bin/hastack}
[ -x "$BIN" ] || make build
name=${DEPLOY_LAB:-nodes}
small=$work/small.yaml
large=$work/large.yaml
sed "s/^name: .*/name: $name/" examples/three.yaml >"$small"
sed '/name: node03,/a\  - {name: compute01, host: 21, rack: r1, roles: [compute]}' "$small" >"$large"
cluster=$HASTACK_STATE_DIR/clusters/$name
mkdir -p "$HASTACK_STATE_DIR"
say() { printf '%s %s\n' "$(date +%T)" "$*"; }
fail() { say "FAIL $*"; exit 1; }
cleanup() {
  local rc=$?
  trap - EXIT
  [ -z "${DEPLOY_KEEP:-}" ] || { echo "kept: HASTACK_STATE_DIR=$HASTACK_STATE_DIR $BIN lab show $name"; exit $rc; }
  "$BIN" lab down "$name" >/dev/null || true
  rm -rf "$work"
  exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT TERM
os() { "$BIN" lab exec --lab "$name" -- env OS_CLIENT_CONFIG_FILE="$cluster/clouds.yaml" openstack --os-cloud hastack-admin "$@"; }
eventually() { # WHAT COMMAND...
  local what=$1
  shift
  for _ in $(seq 60); do
    if "$@" >/dev/null 2>&1; then say "ok $what"; return 0; fi
    sleep 1
  done
  fail "$what"
}
computes() { os compute service list --service nova-compute -f value -c Host -c State | sort | tr '\n' ' '; }
has() { computes | grep "compute01 up" >/dev/null; }
hasnt() { ! computes | grep compute01 >/dev/null; }
agents() { os network agent list --host compute01 -f value -c ID | wc -l; }

"$BIN" lab up "$large" >/dev/null
"$BIN" deploy "$small" >"$work/out" || { cat "$work/out"; fail "deploy of three"; }
hasnt || fail "compute01 is there before it was deployed"
"$BIN" deploy "$large" >"$work/out" || { cat "$work/out"; fail "deploy of the fourth"; }
say "deployed: $(grep -E 'changes.* in ' "$work/out")"
eventually "compute01 takes guests" has
[ "$(agents)" -gt 0 ] || fail "compute01 has no network agent"

"$BIN" deploy "$small" >"$work/out" 2>"$work/err" && fail "a topology that lost a server was deployed"
grep -q "hastack node remove compute01" "$work/err" || { cat "$work/err"; fail "the refusal does not say what to do"; }
say "ok a topology that lost a server is refused"
rc=0
"$BIN" node remove node03 --cluster-dir "$cluster" >"$work/out" 2>"$work/err" || rc=$?
[ $rc = 1 ] && grep -q "even quorum" "$work/err" || { cat "$work/out" "$work/err"; fail "the third control server was removed"; }
say "ok an even quorum is refused"

"$BIN" node remove compute01 --cluster-dir "$cluster" || fail "node remove"
hasnt || fail "nova still has compute01"
[ "$(agents)" = 0 ] || fail "neutron still has agents of compute01"
[ -z "$("$BIN" lab ssh --lab "$name" compute01 -- 'systemctl list-units --plain --no-legend "hastack-*"; ls -d /etc/hastack 2>/dev/null; true')" ] || fail "something of Hastack is left on compute01"
"$BIN" deploy "$small" >"$work/out" || { cat "$work/out"; fail "deploy without it"; }
"$BIN" plan "$small" --exit-code >"$work/out" || { cat "$work/out"; fail "there is something left to change"; }
"$BIN" node remove compute01 --cluster-dir "$cluster" 2>/dev/null && fail "a server that is not there was removed"
"$BIN" deploy "$large" >"$work/out" || { cat "$work/out"; fail "deploy of the fourth again"; }
eventually "compute01 is back" has
say "ok: joined, left, joined"
