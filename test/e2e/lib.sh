# What the end-to-end scripts share: talking, waiting, reaching guests.
: "${STATE_DIR:?}" "${BIN:?}" "${WORK:?}" "${IMAGE_FILE:?}"
cd "$WORK"

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
ok() { printf '%s ok   %s\n' "$(date +%T)" "$*"; }
fail() { printf 'FAIL %s\n' "$*" >&2; exit 1; }
# until_ok SECONDS WHAT COMMAND...: repeats a command until it succeeds.
until_ok() {
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $limit ] || fail "$what: still not after the time given"
    sleep 0.3
  done
}
# until_not SECONDS WHAT COMMAND...: repeats a command until it fails.
until_not() {
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  while "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $limit ] || fail "$what: still so after the time given"
    sleep 0.3
  done
}
key=${key:-$WORK/key}
guest() { # guest ADDRESS COMMAND...
  local ip=$1
  shift
  ssh -q -i "$key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=3 \
    -o ServerAliveInterval=2 -o ServerAliveCountMax=2 -o BatchMode=yes "root@$ip" "$@"
}
field() { openstack "$1" show -f value -c "$3" "$2"; }
up() { "$BIN" up --state-dir "$STATE_DIR" --image "$IMAGE_FILE" "$@"; }
