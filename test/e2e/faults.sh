#!/bin/bash
# Faults on purpose, with real servers: what is killed or deleted comes back,
# servers do not notice, refusals say what to do. Run by run.sh.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
key=$STATE_DIR/demo.pem

# ---------------------------------------------------------------- a start that is cut off
"$BIN" up --state-dir "$STATE_DIR" --image "$IMAGE_FILE" >cut.out 2>&1 &
starting=$!
for _ in $(seq 100); do grep -q '"msg":"serving"' "$STATE_DIR/log/hastack.log" 2>/dev/null && break; sleep 0.1; done
kill -INT $starting
if wait $starting; then fail "an interrupted up ends with success"; fi
sleep 0.5
pgrep -f "serve all .*$STATE_DIR" >/dev/null && fail "an interrupted up leaves the cloud's process"
ok "an interrupted up leaves nothing running"

up >up.out || { cat up.out; fail "up after an interrupted one"; }
eval "$("$BIN" env --state-dir "$STATE_DIR")"
fip=$(grep -oE '172\.24\.4\.[0-9]+' up.out | sed -n 1p)
until_ok 60 "ssh to first" guest "$fip" true
pid() { pgrep -f "serve all .*$STATE_DIR" | sed -n 1p; }
audit_empty() { "$BIN" audit --state-dir "$STATE_DIR"; }

# ---------------------------------------------------------------- what dies comes back
dns=$(pgrep -f "dnsmasq.*$STATE_DIR" | sed -n 1p)
kill -9 "$dns"
until_ok 10 "dnsmasq is started again" sh -c "pgrep -f 'dnsmasq.*$STATE_DIR' | grep -vqx $dns"
ok "a killed dnsmasq comes back"

router=$(ls /run/netns | grep '^qrouter-' | while read -r n; do if ip netns exec "$n" ip -o addr 2>/dev/null | grep '172\.24\.4\.' >/dev/null; then echo "$n"; fi; done | sed -n 1p)
before=$(stat -Lc %i "/run/netns/$router")
ip netns delete "$router"
until_ok 15 "the namespace is made again" sh -c "[ -e /run/netns/$router ] && [ \"\$(stat -Lc %i /run/netns/$router)\" != $before ] && ip netns exec $router true"
until_ok 30 "ssh after the router's namespace was deleted" guest "$fip" true
ok "a router namespace that is deleted by hand comes back"

tap=$(ip -o link show type tun | grep -oE 'tap[0-9a-f-]+' | sed -n 1p)
ip link set "$tap" nomaster
until_ok 15 "ssh after a tap was unplugged" guest "$fip" true
ok "a tap that is unplugged by hand comes back"

qemu=$(pgrep -f "qemu-system.* -uuid $(field server first id)" | sed -n 1p)
kill -9 "$qemu"
until_ok 20 "first is SHUTOFF" sh -c '[ "$(openstack server show first -f value -c status)" = SHUTOFF ]'
openstack server start first
until_ok 90 "ssh after a start" guest "$fip" true
ok "a killed QEMU makes its server SHUTOFF; it starts again"

# ---------------------------------------------------------------- the cloud dies, servers do not
ping -i 0.1 -c 60 -W 1 "$fip" >ping.out &
pinging=$!
sleep 1
kill -9 "$(pid)"
sleep 2
guest "$fip" true || fail "a server does not answer while the cloud is dead"
up >again.out || { cat again.out; fail "up after kill -9"; }
wait $pinging || true
grep -qE ' 0% packet loss' ping.out || fail "packets were lost while the cloud died and came back: $(grep loss ping.out)"
[ "$(openstack server show first -f value -c status)" = ACTIVE ] || fail "first is not ACTIVE after the cloud came back"
ok "kill -9 of the cloud: no packet lost, the server adopted"

openstack server create --image testvm --flavor m1.nano --network private --key-name demo second >/dev/null
kill -9 "$(pid)"
up >again.out || { cat again.out; fail "up after kill -9 during a boot"; }
until_ok 60 "second is ACTIVE" sh -c '[ "$(openstack server show second -f value -c status)" = ACTIVE ]'
ok "kill -9 right after the 202: the server is built"
until_ok 60 "the audit is empty" audit_empty
ok "the audit is empty"

# ---------------------------------------------------------------- down and up
"$BIN" down --state-dir "$STATE_DIR" | tee down.out
grep -q '2 of its servers still run' down.out || fail "down does not say that servers still run"
guest "$fip" true || fail "a server does not answer after down"
up >again.out
ok "down leaves servers running, up adopts them"

# ---------------------------------------------------------------- refusals
other=$WORK/other
if "$BIN" up --state-dir "$other" 2>refused; then fail "a second cloud took the same port"; fi
grep -q 'taken by another program' refused || fail "port taken: $(cat refused)"
if setpriv --reuid 65534 --regid 65534 --clear-groups "$BIN" up --state-dir /tmp/hastack-nobody-$$ --listen 127.0.0.1:5999 2>refused; then fail "up as nobody"; fi
grep -q 'run as root' refused || fail "not root: $(cat refused)"
rm -rf /tmp/hastack-nobody-$$
mkdir -p small
mount -t tmpfs -o size=100m tmpfs small
if "$BIN" up --state-dir "$WORK/small/state" --listen 127.0.0.1:5998 2>refused; then fail "up on a full disk"; fi
umount small
grep -q 'MiB are free' refused || fail "disk full: $(cat refused)"
ok "port taken, not root, disk full: a sentence that says what to do"

# ---------------------------------------------------------------- the disk fills during an upload
mkdir -p tiny
mount -t tmpfs -o size=96m tmpfs tiny
[ "$(find "$STATE_DIR/glance" -type f -size +1M | wc -l)" = 1 ] || fail "the image store holds more than the one image: $(find "$STATE_DIR/glance" -type f -size +1M)"
cp -a "$STATE_DIR/glance/." tiny/
"$BIN" down --state-dir "$STATE_DIR" >/dev/null
mount --bind tiny "$STATE_DIR/glance"
up >again.out || { cat again.out; fail "up with a small image store"; }
head -c 120000000 /dev/urandom >big
if openstack image create --file big --disk-format raw --container-format bare big >/dev/null 2>full.err; then fail "an image larger than the disk was stored"; fi
state=$(openstack image list -f value -c Name -c Status | awk '$1=="big"{print $2}')
[ -z "$state" ] || [ "$state" = queued ] || fail "the image that did not fit is $state"
free=$(df --output=avail -k tiny | tail -1)
[ "$free" -gt 10000 ] || fail "half an upload still fills the disk: $free KiB free"
"$BIN" down --state-dir "$STATE_DIR" >/dev/null
umount "$STATE_DIR/glance"
umount tiny
up >again.out
ok "a full disk during an upload: refused, cleaned ($(head -c 100 full.err | tr '\n' ' '))"

openstack server delete --wait first second 2>/dev/null
until_ok 60 "the audit is empty" audit_empty
ok "everything deleted, the audit is empty"
