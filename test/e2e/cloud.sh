#!/bin/bash
# The end-to-end script: what the README teaches, with the openstack command
# line, ssh and curl only, on real servers. Run by run.sh.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# ---------------------------------------------------------------- the cloud
up
say "second up"
up >second.out
grep -q "Your cloud" second.out || fail "the second up does not find the cloud"
eval "$("$BIN" env --state-dir "$STATE_DIR")"
openstack token issue -f value -c project_id >/dev/null
openstack catalog list -f value -c Name | sort | tr '\n' ' '
ok "up, twice, and a token"
"$BIN" trace --state-dir "$STATE_DIR" first | tee trace.out
[ "$(grep -cE '^ *[0-9]+ ' trace.out)" = 28 ] || fail "the trace of first does not have 28 steps"
ok "trace shows the 28 steps"
openstack server delete --wait first

# ---------------------------------------------------------------- resources
ssh-keygen -q -t ed25519 -N '' -f key
openstack keypair create --public-key key.pub e2e >/dev/null
openstack image create --file "$IMAGE_FILE" --disk-format qcow2 --container-format bare e2e-image -f value -c status >/dev/null 2>&1
until_ok 30 "image active" sh -c '[ "$(openstack image show -f value -c status e2e-image)" = active ]'
openstack network create e2e-net >/dev/null
openstack subnet create --network e2e-net --subnet-range 10.77.0.0/24 --dns-nameserver 192.0.2.53 e2e-subnet >/dev/null
openstack router create --external-gateway public e2e-router >/dev/null 2>&1 ||
  { openstack router create e2e-router >/dev/null; openstack router set --external-gateway public e2e-router; }
openstack router add subnet e2e-router e2e-subnet
openstack security group create e2e-sg >/dev/null
openstack security group rule create --protocol icmp e2e-sg >/dev/null
ssh_rule=$(openstack security group rule create --protocol tcp --dst-port 22 e2e-sg -f value -c id)
cat >user-data <<'X'
#!/bin/sh
echo "user-data was here" > /root/user-data-ran
X
ok "network, subnet, router, security group, key, image"

# ---------------------------------------------------------------- first server
openstack server create --image e2e-image --flavor m1.nano --network e2e-net --security-group e2e-sg \
  --key-name e2e --user-data user-data --property role=web --wait one >/dev/null
fip=$(openstack floating ip create public -f value -c floating_ip_address)
openstack server add floating ip one "$fip"
until_ok 120 "ssh to $fip" guest "$fip" true
ok "ssh by floating IP $fip"
until_ok 30 "user-data ran" guest "$fip" grep -q here /root/user-data-ran
[ "$(guest "$fip" hostname)" = one ] || fail "the hostname is not one"
md=$(guest "$fip" wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json)
grep -q "\"$(field server one id)\"" <<<"$md" || fail "the metadata service does not know the server"
grep -q '"role": *"web"' <<<"$md" || fail "the metadata lacks the property"
ok "user-data ran, hostname, metadata"

# ---------------------------------------------------------------- security group
openstack security group rule delete "$ssh_rule"
until_not 10 "ssh is cut" guest "$fip" true
ssh_rule=$(openstack security group rule create --protocol tcp --dst-port 22 e2e-sg -f value -c id)
until_ok 20 "ssh is back" guest "$fip" true
ok "a security group change cuts and restores ssh"

# ---------------------------------------------------------------- second server, config drive
openstack server create --image e2e-image --flavor m1.nano --network e2e-net --security-group e2e-sg \
  --key-name e2e --config-drive True --wait two >/dev/null
two=$(openstack server show two -f json -c addresses | grep -oE '10\.77\.0\.[0-9]+' | sed -n 1p)
one=$(openstack server show one -f json -c addresses | grep -oE '10\.77\.0\.[0-9]+' | sed -n 1p)
until_ok 120 "one pings two" guest "$fip" ping -c 1 -W 2 "$two"
ok "one pings two at $two"
until_ok 60 "two read its config drive" sh -c 'openstack console log show two | grep -i "config.drive" >/dev/null'
ok "config drive"

# ---------------------------------------------------------------- spoofing
guest "$fip" "ip addr add 10.77.0.250/32 dev eth0; ! ping -c 2 -W 2 -I 10.77.0.250 $two; rc=\$?; ip addr del 10.77.0.250/32 dev eth0; exit \$rc" >/dev/null ||
  fail "a spoofed source address left the port"
guest "$fip" ping -c 1 -W 2 "$two" >/dev/null || fail "one does not reach two any more"
ok "a spoofed source address does not leave the port"

# ---------------------------------------------------------------- reboot, rebuild, snapshot
guest "$fip" 'echo kept >/root/marker; sync'
openstack server reboot --hard --wait one >/dev/null
until_ok 120 "ssh after the reboot" guest "$fip" grep -q kept /root/marker
ok "reboot keeps the disk"
openstack server image create --name e2e-snap --wait one >/dev/null
[ "$(field image e2e-snap status)" = active ] || fail "the snapshot is not active"
openstack server rebuild --image e2e-image --wait one >/dev/null
until_ok 120 "ssh after the rebuild" guest "$fip" true
guest "$fip" '! test -e /root/marker' || fail "rebuild kept the old disk"
ok "rebuild gives a new disk"
openstack server remove floating ip one "$fip"
openstack server create --image e2e-snap --flavor m1.nano --network e2e-net --security-group e2e-sg \
  --key-name e2e --wait three >/dev/null
openstack server add floating ip three "$fip"
until_ok 120 "ssh to the copy" guest "$fip" grep -q kept /root/marker
ok "a server from the snapshot has its disk"

# ---------------------------------------------------------------- consoles
openstack console log show three | grep testvm >/dev/null || fail "the console log is empty"
url=$(openstack console url show --novnc three -f value -c url)
base=${url%%/vnc*}
base=${base%%\?*}
curl -sf -o /dev/null "$url" || fail "the noVNC page does not answer at $url"
token=$(grep -oE 'token(=|%3D)[0-9a-f-]+' <<<"$url" | grep -oE '[0-9a-f-]{36}')
timeout 3 curl -s -N --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
  -H 'Sec-WebSocket-Key: aGFzdGFja2hhc3RhY2shIQ==' -H 'Sec-WebSocket-Protocol: binary' \
  "$(sed -E 's#(https?://[^/]+(/[^/?]+)*)/vnc[^?]*.*#\1#' <<<"$url")/websockify?token=$token" --output vnc.bin || true
grep -aq 'RFB 003' vnc.bin || fail "no VNC frame came through the proxy"
ok "console log and a VNC frame"

# ---------------------------------------------------------------- quota
project=$(openstack token issue -f value -c project_id)
OS_CLOUD=hastack-admin openstack quota set --instances 3 "$project"
if openstack server create --image e2e-image --flavor m1.nano --network e2e-net four >/dev/null 2>quota.err; then
  fail "a fourth server passed a quota of 3"
fi
grep -q 403 quota.err || fail "quota exceeded is not a 403: $(cat quota.err)"
ok "quota exceeded gives 403"

# ---------------------------------------------------------------- the end
openstack server delete --wait one two three
openstack floating ip list -f value -c ID | xargs -r -n1 openstack floating ip delete
openstack image delete e2e-snap e2e-image
openstack router remove subnet e2e-router e2e-subnet
openstack router delete e2e-router
openstack network delete e2e-net
openstack security group delete e2e-sg
openstack keypair delete e2e
until_ok 20 "the audit is empty" "$BIN" audit --state-dir "$STATE_DIR"
"$BIN" audit --state-dir "$STATE_DIR"
ok "everything deleted, the audit is empty"
