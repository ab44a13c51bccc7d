#!/bin/bash
# refusals.sh [TOPOLOGY]: what hastack deploy refuses, on a lab: a wrong SSH key,
# a server that is down, a wrong operating system, an address that two machines
# have, an even quorum, a missing disk, a copied machine, another cluster's
# server, a second deployment at the same time. Each time the error must name
# the server and what to do, the exit code be 1, and every server be as before.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "hastack: a lab makes machines and networks: run as root" >&2; exit 1; }

work=$(mktemp -d /tmp/hastack-refuse.XXXXXX)
export HASTACK_STATE_DIR=$work/state
BIN=${BIN:-$PWD/bin/hastack}
[ -x "$BIN" ] || make build
topology=$work/topology.yaml
cp "${1:-examples/three.yaml}" "$topology"
name=${DEPLOY_LAB:-refuse}
sed -i "s/^name: .*/name: $name/" "$topology"
mkdir -p "$HASTACK_STATE_DIR"
cleanup() {
  local rc=$?
  trap - EXIT
  "$BIN" lab down "$name" >/dev/null || true
  rm -rf "$work"
  exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT TERM
on() { "$BIN" lab ssh --lab "$name" "$1" -- "$2"; }
servers=$(sed -n 's/.*{name: \([a-z0-9]*\), host.*/\1/p' "$topology")
set -- $servers
one=$1 two=$2 three=$3
refused=0

# snapshot is what deploy could change on the servers that answer: every file
# with its times, every package, every unit.
snapshot() {
  local s
  for s in $servers; do
    [ "$s" = "${down:-}" ] && continue
    echo "== $s"
    on "$s" 'find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /var/log -o -path /var/lib/systemd \) -prune -o -printf "%p %m %u %g %s %T@ %C@\n" | sort; dpkg-query -W; systemctl list-units --all --plain --no-legend --type=service | grep -v -e ssh -e user@ -e user-runtime -e session; sysctl -a 2>/dev/null | grep -E "net.ipv4.(ip_|conf.all)"'
  done
}

# refuse WHAT TOPOLOGY WORD...: deploy must end with 1, say every word, and
# leave the servers alone.
refuse() {
  local what=$1 file=$2 rc=0 word
  shift 2
  snapshot >"$work/before"
  "$BIN" deploy "$file" >"$work/out" 2>"$work/err" || rc=$?
  [ $rc = 1 ] || { cat "$work/out" "$work/err"; echo "FAIL $what: exit code $rc, want 1"; exit 1; }
  for word; do
    grep -qF -- "$word" "$work/err" || { cat "$work/err"; echo "FAIL $what: the error does not say '$word'"; exit 1; }
  done
  snapshot >"$work/after"
  diff "$work/before" "$work/after" >"$work/diff" || { head -n 20 "$work/diff"; echo "FAIL $what: servers were touched"; exit 1; }
  refused=$((refused + 1))
  printf 'ok %-28s %s\n' "$what" "$(grep -F -- "$1" "$work/err" | sed -n 1p | cut -c1-150)"
}

"$BIN" lab up "$topology" >/dev/null

ssh-keygen -q -t ed25519 -N '' -f "$work/other"
sed "s|^name: .*|&\nssh: {key: $work/other}|" "$topology" >"$work/key.yaml"
refuse "wrong SSH key" "$work/key.yaml" "$one refuses user root" "$three refuses" authorized_keys "$work/other"

down=$two
"$BIN" lab kill "$name" "$two" >/dev/null
refuse "server down" "$topology" "$two does not answer" "is it up"
"$BIN" lab start "$name" "$two" >/dev/null
down=

on "$two" 'cp -a --remove-destination "$(readlink -f /etc/os-release)" /etc/os-release.kept; sed "s/VERSION_ID=.*/VERSION_ID=\"11\"/" /etc/os-release.kept > /etc/os-release.new; mv /etc/os-release.new /etc/os-release'
refuse "wrong operating system" "$topology" "$two: it runs debian 11" "install Debian 12"
on "$two" 'mv /etc/os-release.kept /etc/os-release'

address=$("$BIN" topology show "$topology" --json 2>/dev/null | jq -r ".servers[] | select(.name == \"$two\").addresses.tunnel" 2>/dev/null || true)
[ -n "$address" ] && [ "$address" != null ] || address=$(on "$two" "ip -o -4 addr show bond2" | awk '{ split($4, a, "/"); print a[1]; exit }')
on "$three" "ip addr add $address/32 dev bond2"
refuse "address clash" "$topology" "$two: another machine" "answers for its address $address" tunnel
on "$three" "ip addr del $address/32 dev bond2"

sed "/name: $three,/s/control, //" "$topology" >"$work/even.yaml"
refuse "even quorum" "$work/even.yaml" control odd

# A lab server is a container; made to pose as metal, it has the block devices
# of this machine, among which no disk is that large.
sed "s|^servers:|hardware:\n  big: {cores: 8, memory_gb: 64, disks: [{count: 2, gb: 900000, kind: sas, use: data}]}\n&|; /name: $two,/s/rack: r1/rack: r1, hardware: big/" "$topology" >"$work/disk.yaml"
on "$two" 'printf "#!/bin/sh\necho none\nexit 1\n" > /usr/local/bin/systemd-detect-virt; chmod 755 /usr/local/bin/systemd-detect-virt'
refuse "missing disk" "$work/disk.yaml" "$two: 2 disks of 900000 GB are needed (data)" "add them"
on "$two" 'rm /usr/local/bin/systemd-detect-virt'

id=$(on "$two" "cat /etc/machine-id")
on "$two" "cp /etc/machine-id /etc/machine-id.kept; echo $(on "$one" "cat /etc/machine-id") > /etc/machine-id"
refuse "copied machine" "$topology" "same machine id" "$one" "$two"
on "$two" "mv /etc/machine-id.kept /etc/machine-id; grep -q $id /etc/machine-id"

on "$three" 'mkdir -p /etc/hastack; echo another > /etc/hastack/cluster'
refuse "another cluster's server" "$topology" "$three: it belongs to cluster another" "hastack node remove"
on "$three" 'rm -r /etc/hastack'

# Two deployments at once: from the same directory, and by another operator.
"$BIN" deploy "$topology" >"$work/first.out" 2>&1 &
first=$!
until grep -q '^plan' "$work/first.out"; do
  kill -0 $first 2>/dev/null || { cat "$work/first.out"; echo "FAIL the first deployment ended early"; exit 1; }
  sleep 0.2
done
for dir in "$HASTACK_STATE_DIR/clusters/$name" "$work/elsewhere"; do
  rc=0
  "$BIN" deploy "$topology" --cluster-dir "$dir" >"$work/out" 2>"$work/err" || rc=$?
  [ $rc = 1 ] && grep -qE 'is being deployed|another deploy is running' "$work/err" || { cat "$work/err"; echo "FAIL a second deployment was not refused ($rc)"; exit 1; }
  refused=$((refused + 1))
  printf 'ok %-28s %s\n' "two at once" "$(cut -c1-150 "$work/err")"
done
kill -9 $first
wait $first 2>/dev/null || true
echo "ok: $refused refusals, nothing touched"
