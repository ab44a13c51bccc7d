#!/bin/bash
# nodes.sh [control]: a server joins a running cluster and leaves it again, on a
# lab of four: three that do everything, and a compute server of its own. Guests,
# agents and memberships are looked at through the API before and after. With
# "control" it is two more control servers that join, leave and join, on a lab of five.
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
case ${1:-compute} in
  compute) more='  - {name: compute01, host: 21, rack: r1, roles: [compute]}' ;;
  control) more='  - {name: node04, host: 14, rack: r1, roles: [control]}\n  - {name: node05, host: 15, rack: r1, roles: [control]}' ;;
esac
sed "/name: node03,/a\\$more" "$small" >"$large"
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
    if "$@" >"$work/last" 2>&1; then say "ok $what"; return 0; fi
    sleep 1
  done
  cat "$work/last"
  fail "$what"
}
computes() { os compute service list --service nova-compute -f value -c Host -c State | sort | tr '\n' ' '; }
has() { computes | grep "compute01 up" >/dev/null; }
hasnt() { ! computes | grep compute01 >/dev/null; }
agents() { os network agent list --host compute01 -f value -c ID | wc -l; }

# control_servers: from three to five, back, and to five again, with a token all the
# time.
control_servers() {
  "$BIN" deploy "$large" >"$work/out" || { cat "$work/out"; fail "deploy of five"; }
  say "deployed: $(grep -E 'changes.* in ' "$work/out")"
  members 5
  eventually "five are healthy" "$BIN" status --cluster-dir "$cluster"
  "$BIN" plan "$large" --exit-code >"$work/out" || { cat "$work/out"; fail "there is something left to change"; }
  "$BIN" node remove node05 --force --cluster-dir "$cluster" >"$work/out" || { cat "$work/out"; fail "node remove node05"; }
  "$BIN" node remove node04 --force --cluster-dir "$cluster" >"$work/out" || { cat "$work/out"; fail "node remove node04"; }
  "$BIN" deploy "$small" >"$work/out" || { cat "$work/out"; fail "deploy of three again"; }
  members 3
  eventually "three are healthy" "$BIN" status --cluster-dir "$cluster"
  # with what they still have of their first membership
  "$BIN" deploy "$large" >"$work/out" || { cat "$work/out"; fail "deploy of five again"; }
  members 5
  eventually "five are healthy again" "$BIN" status --cluster-dir "$cluster"
  say "ok: three control servers, five, three, five"
}
members() { # members N: of the database and of the broker
  local size brokers
  size=$("$BIN" lab ssh --lab "$name" node01 -- "mariadb -Ne \"SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'\"" | cut -f2)
  brokers=$("$BIN" lab ssh --lab "$name" node01 -- "rabbitmqctl -q cluster_status --formatter json" | jq '.running_nodes | length')
  [ "$size" = "$1" ] && [ "$brokers" = "$1" ] || fail "the database has $size members and the broker $brokers, not $1"
  os token issue -f value -c id >/dev/null || fail "no token"
  say "ok $1 databases, $1 brokers, a token"
}

"$BIN" lab up "$large" >/dev/null
"$BIN" deploy "$small" >"$work/out" || { cat "$work/out"; fail "deploy of three"; }
[ "${1:-compute}" = compute ] || { control_servers; exit; }
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
