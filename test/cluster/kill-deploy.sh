#!/bin/bash
# kill-deploy.sh [TOPOLOGY]: kill -9 hastack deploy at random moments and run it
# again. The first half of the kills hit one first deployment, the others a
# deployment that changes every part (new certificates, other engine settings).
# After each half the same healthy cluster must be there: nothing to plan,
# nothing that is due, status well, a token from the API, every acknowledged row
# in the database.
#
# DEPLOY_KILLS is how many kills (10), DEPLOY_SEED makes a run again the same.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "hastack: a lab makes machines and networks: run as root" >&2; exit 1; }

kills=${DEPLOY_KILLS:-10}
seed=${DEPLOY_SEED:-$RANDOM}
RANDOM=$seed
work=$(mktemp -d /tmp/hastack-kill.XXXXXX)
export HASTACK_STATE_DIR=$work/state
BIN=${BIN:-$PWD/bin/hastack}
[ -x "$BIN" ] || make build
topology=$work/topology.yaml
cp "${1:-examples/three.yaml}" "$topology"
name=${DEPLOY_LAB:-kill}
sed -i "s/^name: .*/name: $name/" "$topology"
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
# sql runs a statement on the first control server, which may be catching up.
sql() {
  for _ in $(seq 30); do
    on "$first" "mariadb -Ne \"$1\"" 2>"$work/sql.err" && return 0
    sleep 2
  done
  cat "$work/sql.err"
  fail "the database does not take: $1"
}
on() { "$BIN" lab ssh --lab "$name" "$1" -- "$2"; }
first=$(sed -n 's/.*{name: \([a-z0-9]*\), host.*roles: \[.*control.*/\1/p' "$topology" | sed -n 1p)
span=60 # seconds within which a kill falls; follows the last whole deployment

# kill_once N: a deployment is killed after a random time, unless it is faster.
kill_once() {
  local after pid rc=0 log=$work/killed-$1.out
  after=$(awk -v r=$RANDOM -v s="$span" 'BEGIN { printf "%.1f", 1 + r / 32768 * s }')
  "$BIN" deploy "$topology" --yes >"$log" 2>&1 &
  pid=$!
  for _ in $(seq "$(awk -v a="$after" 'BEGIN { print int(a * 10) }')"); do
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
  done
  kill -9 $pid 2>/dev/null || true
  wait $pid 2>/dev/null || rc=$?
  if [ $rc = 137 ]; then
    say "kill $1 after $after s, during $(next_part "$log")"
  elif [ $rc = 0 ]; then
    say "kill $1 came too late: the deployment took less than $after s"
  else
    cat "$log"
    fail "deployment $1 ended by itself with $rc"
  fi
}

# next_part names the part that follows the last line of a killed deployment.
next_part() {
  local last
  last=$(awk 'NF { l = $1 } END { print l }' "$1")
  echo "what follows ${last:-nothing}"
}

whole() { # one deployment that is let alone
  local begun took
  begun=$(date +%s)
  "$BIN" deploy "$topology" --yes >"$work/whole.out" 2>&1 || { cat "$work/whole.out"; fail "the deployment after the kills did not get through"; }
  took=$(($(date +%s) - begun))
  say "deployed in $took s: $(grep -E 'changes in|nothing had' "$work/whole.out")"
}

check() {
  "$BIN" plan "$topology" --json >"$work/plan.json" 2>"$work/plan.err" || { cat "$work/plan.err"; fail "plan"; }
  [ "$(jq length "$work/plan.json")" = 0 ] || { jq . "$work/plan.json"; fail "there is something left to change"; }
  local s due
  for s in $(sed -n 's/.*{name: \([a-z0-9]*\), host.*/\1/p' "$topology"); do
    due=$(on "$s" 'ls /var/lib/hastack/deploy/*.pending 2>/dev/null; find / -xdev -name ".*.hastack-new" 2>/dev/null; systemctl --failed --no-legend --plain | grep -E "^(hastack|mariadb|rabbit|haproxy|keepalived|memcached|chrony|prometheus|rsyslog)"; ls /usr/sbin/policy-rc.d 2>/dev/null; true')
    [ -z "$due" ] || fail "$s: left behind: $due"
  done
  for _ in $(seq 30); do
    rc=0
    "$BIN" status --cluster-dir "$cluster" >"$work/status.out" 2>&1 || rc=$?
    [ $rc = 0 ] && break
    sleep 2
  done
  [ $rc = 0 ] || { cat "$work/status.out"; fail "status ends with $rc"; }
  "$BIN" lab exec --lab "$name" -- env OS_CLIENT_CONFIG_FILE="$cluster/clouds.yaml" openstack --os-cloud hastack-admin token issue -f value -c id | grep . >/dev/null || fail "no token"
  local size rows
  size=$(sql "select variable_value from information_schema.global_status where variable_name = 'wsrep_cluster_size'")
  [ "$size" = "$(grep -c 'roles:.*control' "$topology")" ] || fail "the database has $size members"
  rows=$(sql "select count(*) from keystone.kill_ledger")
  [ "$rows" = "$1" ] || fail "$rows rows are in the ledger, $1 were acknowledged"
  say "healthy: nothing to plan, $size members, $rows rows, a token"
}

say "seed $seed"
"$BIN" lab up "$topology" >/dev/null
half=$((kills / 2))
for n in $(seq $half); do kill_once "$n"; done
whole
sql "create table keystone.kill_ledger (n int primary key)"
check 0
# Changes to every part: other certificates, other settings of the engines.
for n in $(seq $((half + 1)) "$kills"); do
  sql "insert into keystone.kill_ledger values ($n)"
  sed -i -E "s/(buffer_pool_mb: )[0-9]+/\1$((64 + n))/; s/(rabbitmq: \{memory_mb: )[0-9]+/\1$((512 + n))/; s/(memcached: \{memory_mb: )[0-9]+/\1$((32 + n))/" "$topology"
  rm -rf "$cluster/tls"
  span=45 kill_once "$n"
  whole
  check $((n - half))
done
say "ok: $kills kills, always the same healthy cluster"
