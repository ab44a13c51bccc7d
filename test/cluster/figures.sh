#!/bin/bash
# figures.sh [three|reference-27]: the figures of doc/ha-report.md, on a lab of
# that example with nothing else on the machine. Takes hours: of three every single
# fault twenty times (FIGURES_ROUNDS), what is slow or rare less often; of
# reference-27 one of each. A finished part leaves its rounds in
# doc/drills/CLUSTER/PART.json.gz, and one that is there is not made again, so that
# this may be ended and run once more; for the figures of another version delete
# them. Tables and page are made of all that are there.
# FIGURES_ONLY="kill power" makes some parts, FIGURES_ONLY=none only brings the lab
# up.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "hastack: a lab makes machines and networks: run as root" >&2; exit 1; }

topology=examples/${1:-three}.yaml
name=$(sed -n 's/^name: //p' "$topology")
docs=doc/drills/$name
export HASTACK_STATE_DIR=${HASTACK_STATE_DIR:-/var/tmp/hastack-figures}
rounds=${FIGURES_ROUNDS:-20}
BIN=${BIN:-$PWD/bin/hastack}
IMAGE_FILE=${IMAGE_FILE:-$PWD/bin/image/disk.qcow2}
cluster=$HASTACK_STATE_DIR/clusters/$name
out=$HASTACK_STATE_DIR/drills/$name
mkdir -p "$HASTACK_STATE_DIR" "$out" "$docs"
[ -x "$BIN" ] && [ -f "$IMAGE_FILE" ] || make build image

if ! "$BIN" lab show "$name" >/dev/null 2>&1; then
  for step in "lab up $topology" "deploy $topology --yes"; do
    begun=$SECONDS
    # shellcheck disable=SC2086 # the words of a command
    "$BIN" $step
    echo "took $((SECONDS - begun)) s: hastack $step"
  done
  # a server with a floating IP, so that the data plane is probed as well
  "$BIN" lab exec --lab "$name" -- "$BIN" up --state-dir "$cluster" --image "$IMAGE_FILE"
fi

trap 'exit 130' INT TERM # or what was interrupted would count as made
failed=
made=()
part() { # part NAME SUITE ARGUMENT...
  local part=$1 rc=0
  shift
  if [ ! -e "$docs/$part.json.gz" ]; then
    [ -z "${FIGURES_ONLY:-}" ] || [[ " $FIGURES_ONLY " == *" $part "* ]] || return 0
    printf '\n%s --- %s: drill %s\n' "$(date +%T)" "$part" "$*"
    rm -rf "${out:?}/$part"
    "$BIN" drill "$@" --keep --cluster-dir "$cluster" --report "$out/$part" || rc=$?
    [ $rc = 0 ] || [ $rc = 4 ] || failed="$failed $part"
    gzip -9nc "$out/$part/report.json" >"$docs/$part.json.gz"
  fi
  made+=("$docs/$part.json.gz")
}

if [ "$name" = three ]; then
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
else
  # So many servers need four fifths of two processors when they do nothing but
  # answer the probes and boot servers every 3 s: they boot fewer, and a goal that
  # is missed is tried again, as in CI.
  part servers smoke --boot-pause 10s --confirm 2 --only '^(switch|holder|database)|off$'
  part power power
  part cables-control smoke --boot-pause 10s --only '^cable (admin|load|control|network)'
  part cables-compute smoke --boot-pause 10s --only '^cable compute'
  part cables-storage smoke --boot-pause 10s --only '^cable (block|swift)'
fi
if [ ${#made[@]} -gt 0 ]; then
  "$BIN" drill report "${made[@]}" --out "$out/all" --table doc/ha-report.md
  cp "$out/all/index.html" "$docs/index.html"
fi
[ -z "$failed" ] || { echo "broken promises in:$failed" >&2; exit 1; }
