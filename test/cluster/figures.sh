#!/bin/bash
# figures.sh [OUT]: the figures of doc/ha-report.md, on a lab of
# examples/three.yaml with nothing else on the machine: every single fault twenty
# times (FIGURES_ROUNDS), what is slow or rare less often. Takes hours; each part
# leaves its report in OUT/NAME (OUT: drills in the state directory), and one that
# is there is not made again, so that it may be ended and run once more.
# FIGURES_ONLY="kill power" makes some parts.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "hastack: a lab makes machines and networks: run as root" >&2; exit 1; }

export HASTACK_STATE_DIR=${HASTACK_STATE_DIR:-/var/tmp/hastack-figures}
out=${1:-$HASTACK_STATE_DIR/drills}
rounds=${FIGURES_ROUNDS:-20}
BIN=${BIN:-$PWD/bin/hastack}
IMAGE_FILE=${IMAGE_FILE:-$PWD/bin/image/disk.qcow2}
cluster=$HASTACK_STATE_DIR/clusters/three
mkdir -p "$HASTACK_STATE_DIR" "$out"
[ -x "$BIN" ] && [ -f "$IMAGE_FILE" ] || make build image

if ! "$BIN" lab show three >/dev/null 2>&1; then
  "$BIN" lab up examples/three.yaml
  "$BIN" deploy examples/three.yaml
  # a server with a floating IP, so that the data plane is probed as well
  "$BIN" lab exec --lab three -- "$BIN" up --state-dir "$cluster" --image "$IMAGE_FILE"
fi

failed=
part() { # part NAME SUITE ARGUMENT...
  local name=$1 rc=0
  shift
  [ -z "${FIGURES_ONLY:-}" ] || [[ " $FIGURES_ONLY " == *" $name "* ]] || return 0
  [ ! -e "$out/$name/report.json" ] || return 0
  printf '\n%s --- %s: drill %s\n' "$(date +%T)" "$name" "$*"
  "$BIN" drill "$@" --keep --cluster-dir "$cluster" --report "$out/$name.part" || rc=$?
  mv "$out/$name.part" "$out/$name"
  [ $rc = 0 ] || [ $rc = 4 ] || failed="$failed $name"
}
part kill process --no-alarms --rounds "$rounds" --only '^(node03|database writer): kill -9'
part balancer process --no-alarms --rounds "$rounds" --only '^holder of VIP .*: kill -9'
part freeze process --no-alarms --rounds 2 --only '^(node|holder).*SIGSTOP'
part frozen process --no-alarms --rounds "$rounds" --only '^database writer: SIGSTOP'
part server smoke --no-alarms --rounds "$rounds" --only '^node03 off|^database writer off'
part holder smoke --no-alarms --rounds "$((rounds / 2))" --only '^holder of VIP'
part management partition --no-alarms --rounds "$rounds" --only '^node03: management cut'
part power power --no-alarms --rounds "$rounds"
part partition partition --rounds 2
part state storage-of-state --rounds 2
part smoke smoke
part boot boot --no-alarms
[ -z "$failed" ] || { echo "broken promises in:$failed" >&2; exit 1; }
