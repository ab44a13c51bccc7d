#!/bin/bash
# Boots the image once and holds it against README.md: instance data from a config drive, a grown root, ssh with a
# key and not without, user-data, a clean power-off by the power button.
#
#   image/test.sh DISK.qcow2
#
# Needs qemu-system-x86_64, qemu-img, genisoimage and ssh; no root, and no network but one forwarded loopback port.
set -euo pipefail
export LC_ALL=C
disk=$(realpath "${1:?usage: image/test.sh DISK.qcow2}")
work=$(mktemp -d "${TMPDIR:-/tmp}/testvm-test.XXXXXX")
qemu=
trap '[ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "image test: $*" >&2
  sed 's/^/  console: /' console >&2
  exit 1
}

# await SECONDS TEXT: until the console has it
await() {
  local n=0
  until grep -qaF "$2" console; do
    n=$((n + 1))
    [ $n -lt $(($1 * 10)) ] || fail "no \"$2\" within $1 s"
    sleep 0.1
  done
  echo "image test: $2"
}

login() { ssh -i key -p "$port" -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$@"; }

ssh-keygen -q -t ed25519 -N '' -f key
mkdir -p drive/openstack/latest
printf '{"uuid": "5f4bd6d0-1111-4222-8333-444455556666", "hostname": "web.example", "public_keys": {"a \\"b\\"": "%s\\n"}}\n' "$(cat key.pub)" \
  >drive/openstack/latest/meta_data.json
printf '#!/bin/sh\necho "user-data runs on $(hostname)"\nexit 7\n' >drive/openstack/latest/user_data
genisoimage -quiet -R -V config-2 -o drive.iso drive
qemu-img create -q -f qcow2 -b "$disk" -F qcow2 overlay.qcow2 1G
port=$((20000 + RANDOM % 20000))
mkfifo monitor
: >console
qemu-system-x86_64 -machine q35,accel=tcg -m 96 -display none -nodefaults -vga std -serial file:console -monitor stdio \
  -drive file=overlay.qcow2,if=virtio,format=qcow2 -drive file=drive.iso,if=virtio,format=raw,readonly=on \
  -netdev "user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=n,romfile= \
  <monitor >monitor.log 2>&1 &
qemu=$!
exec 3>monitor

await 60 'testvm: userland'
await 30 'testvm: network eth0 address=10.0.2.15/24'
await 30 'testvm: metadata source=config-drive instance=5f4bd6d0-1111-4222-8333-444455556666 hostname=web.example'
await 30 'testvm: ssh keys=1'
await 30 'user-data runs on web'
await 30 'testvm: user-data rc=7'
await 30 'testvm: root grown rc=0'
await 30 'testvm: ready'
[ "$(login root@127.0.0.1 id -u)" = 0 ] || fail "root cannot log in with the key"
[ "$(login testvm@127.0.0.1 id -un)" = testvm ] || fail "testvm cannot log in with the key"
[ "$(login root@127.0.0.1 df -m / | awk 'END {print $2}')" -gt 900 ] || fail "the root is not as big as the disk"
login -o PreferredAuthentications=none root@127.0.0.1 true 2>methods && fail "root logs in without a key"
grep -q password methods && fail "ssh offers passwords: $(cat methods)"
echo system_powerdown >&3
await 30 'testvm: power button'
n=0
while kill -0 $qemu 2>/dev/null; do
  n=$((n + 1))
  [ $n -lt 300 ] || fail "still on 30 s after the power button"
  sleep 0.1
done
qemu=
echo "image test: all of it works"
