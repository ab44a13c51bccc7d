#!/bin/bash
# run.sh [TOPOLOGY]: a whole cluster on this machine, from nothing to nothing:
# its servers (hastack lab up), the deployment, the end-to-end script of the
# one-machine cloud through the virtual address, servers on two hosts, drills,
# and what is left after it. Runs as root; nothing that it sends can leave.
#
# Every kind of process is killed and frozen once, and the management network of a
# controller cut; a goal that is missed has to be missed in most of three rounds.
# CLUSTER_DRILLS=all makes every fault of both suites and waits for the alarms of
# each (most of an hour), none makes none. CLUSTER_KEEP=1 leaves the lab up after a
# failure, CLUSTER_REPORT names a directory that keeps the drills' reports.
# CLUSTER_HANDBOOK=1 runs every command of the operator's handbook at the end
# (examples/three.yaml only), and those of other topologies in labs of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "hastack: a lab makes machines and networks: run as root" >&2; exit 1; }

topology=${1:-examples/three.yaml}
name=$(sed -n 's/^name: *//p' "$topology")
drills=${CLUSTER_DRILLS:-some}
memory_limit=${CLUSTER_MEMORY_MB:-5120}
work=$(mktemp -d /tmp/hastack-cluster.XXXXXX)
export HASTACK_STATE_DIR=$work/state HOME=$work/home
export BIN=${BIN:-$PWD/bin/hastack} IMAGE_FILE=${IMAGE_FILE:-$PWD/bin/image/disk.qcow2} WORK=$work
cluster=$HASTACK_STATE_DIR/clusters/$name
mkdir -p "$HOME" "$HASTACK_STATE_DIR"
[ -x "$BIN" ] && [ -f "$IMAGE_FILE" ] || make build image

step=
say() {
  step=$*
  printf '\n%s --- %s\n' "$(date +%T)" "$*"
}
# What a lab could leave: namespaces, control groups, mounts, machines' files,
# settings of the kernel, processes.
snapshot() {
  ls /run/netns 2>/dev/null || true
  find /sys/fs/cgroup -maxdepth 3 -type d -name 'hl-*' 2>/dev/null || true
  cut -d' ' -f5 /proc/self/mountinfo | grep -v -e "^$work" -e '^/proc' | sort
  find /run/systemd /run/hastack-labs 2>/dev/null || true
  cat /proc/sys/fs/inotify/max_user_instances /proc/sys/fs/inotify/max_user_watches /proc/sys/fs/aio-max-nr \
    /proc/sys/net/ipv4/neigh/default/gc_thresh3
  ip -o link | awk -F': ' '{print $2}' | sort
  ps -eo comm= | grep -E '^(systemd-nspawn|hastack|qemu-system|beam.smp|mariadbd|haproxy|keepalived)' | sort || true
}

diagnose() { # what an operator would look at first
  "$BIN" lab show "$name" || true
  timeout 60 "$BIN" status --cluster-dir "$cluster" || true
  for s in $("$BIN" lab show "$name" --json | jq -r '.servers[] | select(.power == "running").name'); do
    echo "--- $s"
    timeout 20 "$BIN" lab ssh --lab "$name" "$s" -- 'systemctl --failed --no-legend
      journalctl -b -u hastack-node --no-pager -o cat | grep -v "INFO\|service changed\|unit changed" | cut -c1-300 | tail -n 20
      journalctl -b -p warning --no-pager -o cat | grep -v "Got notification message\|queue.size=" | tail -n 15' || true
  done
}

cleanup() {
  local rc=$?
  trap - EXIT
  if [ $rc -ne 0 ]; then
    diagnose 2>&1 | tail -n 150
    if [ -n "${CLUSTER_KEEP:-}" ]; then
      echo "kept: HASTACK_STATE_DIR=$HASTACK_STATE_DIR $BIN lab show $name"
      exit $rc
    fi
  fi
  "$BIN" lab down "$name" || true
  if [ $rc -ne 0 ]; then # last, where it is seen
    echo "--- failed with $rc in: $step" >&2
    [ ! -s "$work/broken" ] || tail -n 40 "$work/broken" | cut -c1-300 >&2
  fi
  rm -rf "$work"
  exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT TERM

snapshot >"$work/before"
say "the servers"
"$BIN" lab up "$topology"
say "the deployment"
"$BIN" deploy "$topology"
say "the deployment again changes nothing"
"$BIN" deploy "$topology" | tee "$work/again.out"
grep -q "nothing had to be changed" "$work/again.out" || { echo "FAIL a second deploy changes something" >&2; exit 1; }
"$BIN" status --cluster-dir "$cluster"

in_lab() { "$BIN" lab exec --lab "$name" -- "$@"; }
export STATE_DIR=$cluster CURL_CA_BUNDLE=$cluster/ca.pem
say "the end-to-end script, through the virtual address"
in_lab test/e2e/cloud.sh
say "servers on different hosts"
in_lab test/cluster/spread.sh

"$BIN" lab show "$name"
used=$("$BIN" lab show "$name" --json | jq .memory_mb)
[ "$used" -le "$memory_limit" ] || { echo "FAIL the servers take $used MiB, at most $memory_limit" >&2; exit 1; }
echo "ok   the servers take $used MiB of at most $memory_limit"

drill() { # drill SUITE ARGUMENT...
  say "drill $*"
  local rc=0 report=${CLUSTER_REPORT:-$work/report}/$1
  "$BIN" drill "$@" --keep --cluster-dir "$cluster" --report "$report" 2>"$work/said" || rc=$?
  cat "$work/said" >&2
  # 4: nothing was broken, but the machine was too busy to judge every promise.
  if [ $rc != 0 ] && [ $rc != 4 ]; then
    { # the promises last, below some of the requests that failed
      grep '^  - ' "$report/report.md" | head -n 12 || true
      grep -e 'NOT MET' -e '^- \*\*' "$report/report.md" || true
      cat "$work/said"
    } >"$work/broken"
    return $rc
  fi
}
case $drills in
  none) ;;
  all)
    drill process
    drill partition
    ;;
  *)
    drill process --no-alarms --confirm 2
    drill partition --confirm 2 --only '^node03: management cut'
    ;;
esac

[ -z "${CLUSTER_HANDBOOK:-}" ] || { say "the operator's handbook"; test/cluster/handbook.sh; }

say "the end"
"$BIN" lab down "$name"
for _ in $(seq 50); do # namespaces and processes that were killed take a moment
  snapshot >"$work/after"
  ! diff -q "$work/before" "$work/after" >/dev/null || break
  sleep 0.2
done
if ! diff "$work/before" "$work/after"; then
  echo "FAIL lab down leaves something behind (see above)" >&2
  exit 1
fi
[ ! -e "$HASTACK_STATE_DIR/labs" ] || { echo "FAIL lab down leaves $HASTACK_STATE_DIR/labs" >&2; exit 1; }
echo "ok   lab down leaves nothing behind"
[ -z "${CLUSTER_HANDBOOK:-}" ] || { say "the operator's handbook, Pacemaker"; test/cluster/handbook.sh pacemaker; test/cluster/nodes.sh; test/cluster/nodes.sh control; }
