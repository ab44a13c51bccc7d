#!/bin/bash
# handbook.sh [SECTION...]: runs the commands of doc/ops as handbook.list says,
# on examples/three.yaml in a lab of HASTACK_STATE_DIR, and tells what each took.
# Without a section it runs all of that cluster; `handbook.sh pacemaker` has a
# topology of its own, with the other manager of virtual addresses. A lab that is
# not up is made, and removed at the end.
#
# The cluster is wrecked and brought back, several times. NEXT is another build of
# hastack (made here when it is not given).
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "hastack: a lab makes machines and networks: run as root" >&2; exit 1; }
: "${HASTACK_STATE_DIR:?}"
export HASTACK_STATE_DIR ROOT=$PWD BIN=${BIN:-$PWD/bin/hastack} IMAGE_FILE=${IMAGE_FILE:-$PWD/bin/image/disk.qcow2}
export TOPOLOGY=$PWD/examples/three.yaml LAB=three
work=$(mktemp -d /tmp/hastack-handbook.XXXXXX)
export WORK=$work NEXT=${NEXT:-$work/hastack-new}
list=$ROOT/test/cluster/handbook.list
failed=0 ran=0 begun=$SECONDS
cleanup() {
  local rc=$?
  trap - EXIT
  [ -z "${own_lab:-}" ] || "$BIN" lab down "$LAB" >/dev/null || true
  rm -rf "$work"
  exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The operator's machine: hastack in the PATH, the files that commands name.
mkdir -p "$work/bin" "$work/backup" "$work/doc"
ln -s "$BIN" "$work/bin/hastack"
ln -s "$ROOT/examples" "$work/examples"
cp "$ROOT/doc/ha-report.md" "$work/doc/"
export PATH=$work/bin:$PATH

if [ "${1:-}" = pacemaker ]; then
  LAB=pace TOPOLOGY=$work/pace.yaml
  sed -e 's/^name: .*/name: pace\nvip_manager: pacemaker/' "$ROOT/examples/three.yaml" >"$TOPOLOGY"
fi
if ! "$BIN" lab show "$LAB" >/dev/null 2>&1; then
  own_lab=yes
  "$BIN" lab up "$TOPOLOGY" >/dev/null
  "$BIN" deploy "$TOPOLOGY" | tail -n 12
  "$BIN" up --no-server --state-dir "$HASTACK_STATE_DIR/clusters/$LAB" --image "$IMAGE_FILE" >/dev/null
fi
export STATE_DIR=$HASTACK_STATE_DIR/clusters/$LAB

# perform: runs $command where it belongs, its output in $work/out.
perform() {
  case $place in
    operator) (cd "$work" && bash -c "$command") ;;
    seat) (cd "$work" && "$BIN" lab exec --lab "$LAB" -- bash -c "$command") ;;
    *) "$BIN" lab ssh --lab "$LAB" "$place" -- "$command" ;;
  esac >"$work/out" 2>&1 </dev/null
}
as_said() { # tells whether the command ended and answered as it has to
  local rc=0
  perform || rc=$?
  [ "$rc" = "$want" ] || { echo "exit code $rc, not $want" >>"$work/out"; return 1; }
  [ -z "$word" ] || grep -qF -- "$word" "$work/out" || { echo "it does not say: $word" >>"$work/out"; return 1; }
}
finish() { # runs the step that was read
  [ -n "$step" ] || return 0
  local from=$SECONDS good=yes
  until as_said; do
    [ $((SECONDS - from)) -lt "$within" ] || { good=no; break; }
    sleep 1
  done
  ran=$((ran + 1))
  if [ $good = yes ]; then
    printf '%s ok   %-8s %s (%d s)\n' "$(date +%T)" "$place" "$step" $((SECONDS - from))
  else
    failed=$((failed + 1))
    printf '%s FAIL %-8s %s: %s\n' "$(date +%T)" "$place" "$step" "$command"
    tail -n 15 "$work/out" | sed 's/^/    /'
  fi
  step=
}
begin() { # begin STEP: reads a step, whose details follow
  step=$1 command=$1 want=0 word='' within=0 place=seat
  [[ $command != hastack* && $command != ./hastack* ]] || place=operator
}
serves() { begin "the cloud serves: hastack status, and a token through the virtual address"
  place=operator within=180
  command="hastack status --timeout 6s --cluster-dir $STATE_DIR && hastack lab exec --lab $LAB -- env OS_CLIENT_CONFIG_FILE=$STATE_DIR/clouds.yaml openstack --os-cloud hastack-admin token issue -f value -c id"
}
wanted() { # wanted SECTION: tells whether it is to be run
  local s=$1
  shift
  [ $# -gt 0 ] || [ "$s" != pacemaker ] || return 1
  [ $# = 0 ] || [[ " $* " == *" $s "* ]]
}

step='' on=no
while IFS= read -r line <&3; do
  case $line in
    '' | '#'*) continue ;;
    '['*)
      finish
      name=${line#\[} name=${name%%\]*} on=no
      if wanted "$name" "$@"; then
        on=yes
        printf '%s --- %s\n' "$(date +%T)" "$line"
      fi
      continue
      ;;
  esac
  [ $on = yes ] || continue
  rest=${line#"${line%%[! ]*}"}
  case $line in
    '$ '*) finish; begin "${line#\$ }" ;;
    '% '*) finish; begin "${line#% }" ;;
    serves) finish; serves ;;
    '  on '*) place=${rest#on } ;;
    '  as '*) command=${rest#as } ;;
    '  by '*) step= ;; # a script of its own that this list runs elsewhere
    '  says '*) word=${rest#says } ;;
    '  exit '*) want=${rest#exit } ;;
    '  within '*) within=${rest#within } ;;
    *) echo "handbook.list: what is: $line" >&2; exit 1 ;;
  esac
done 3<"$list"
finish
[ $ran -gt 0 ] || { echo "handbook.list has no section $*" >&2; exit 1; }
[ $failed = 0 ] || { echo "FAIL $failed of $ran commands"; exit 1; }
echo "ok: $ran commands and checks in $((SECONDS - begun)) s"
