#!/bin/bash
# step.sh NAME WHAT COMMAND...: runs a command with one line of progress; its
# output shows only when it fails.
set -uo pipefail
name=$1 what=$2
shift 2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
start=$(date +%s%N)
took() { printf '%d.%d' $((($(date +%s%N) - start) / 1000000000)) $((($(date +%s%N) - start) / 100000000 % 10)); }
"$@" >"$log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null; rm -f "$log"; exit 130' INT TERM
while [ -t 1 ] && kill -0 $pid 2>/dev/null; do
  printf '\r\033[K%-11s%-50s %6s s…' "$name" "$(tail -n 1 "$log" | tr -d '\r' | cut -c1-48)" "$(took)"
  sleep 0.2
done
wait $pid
rc=$?
[ -t 1 ] && printf '\r\033[K'
if [ $rc -ne 0 ]; then
  cat "$log" >&2
  echo "hastack: $name failed: $what" >&2
  exit $rc
fi
printf '%-11s%-50s %6s s\n' "$name" "$what" "$(took)"
