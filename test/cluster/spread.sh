#!/bin/bash
# Two servers that must not share a host reach each other: the tenant's network
# goes from host to host over VXLAN. Run by run.sh at the operator's seat.
set -euo pipefail
. "$(dirname "$0")/../e2e/lib.sh"
eval "$("$BIN" env --state-dir "$STATE_DIR")"
key=$WORK/spread-key

ssh-keygen -q -t ed25519 -N '' -f "$key"
openstack keypair create --public-key "$key.pub" spread >/dev/null
openstack network create spread-net >/dev/null
openstack subnet create --network spread-net --subnet-range 10.78.0.0/24 spread-subnet >/dev/null
openstack router create --external-gateway public spread-router >/dev/null 2>&1 ||
  { openstack router create spread-router >/dev/null; openstack router set --external-gateway public spread-router; }
openstack router add subnet spread-router spread-subnet
openstack security group create spread-sg >/dev/null
openstack security group rule create --protocol icmp spread-sg >/dev/null
openstack security group rule create --protocol tcp --dst-port 22 spread-sg >/dev/null
group=$(openstack server group create --policy anti-affinity spread -f value -c id)
for s in here there; do
  openstack server create --image testvm --flavor m1.nano --network spread-net --security-group spread-sg \
    --key-name spread --hint group="$group" --wait "$s" >/dev/null
done
host() { OS_CLOUD=hastack-admin openstack server show -f value -c OS-EXT-SRV-ATTR:host "$(field server "$1" id)"; }
[ "$(host here)" != "$(host there)" ] || fail "both servers are on $(host here)"
ok "here is on $(host here), there on $(host there)"
fip=$(openstack floating ip create public -f value -c floating_ip_address)
openstack server add floating ip here "$fip"
until_ok 180 "ssh to $fip" guest "$fip" true
there=$(openstack server show there -f json -c addresses | grep -oE '10\.78\.0\.[0-9]+' | sed -n 1p)
until_ok 180 "here pings there at $there" guest "$fip" ping -c 1 -W 2 "$there"
guest "$fip" ping -c 3 -W 2 -s 1400 "$there" >/dev/null || fail "full-sized packets do not pass between the hosts"
ok "here reaches there from host to host, packets of 1428 bytes too"
openstack server delete --wait here there
openstack floating ip list -f value -c ID | xargs -r -n1 openstack floating ip delete
openstack server group delete "$group"
openstack router remove subnet spread-router spread-subnet
openstack router delete spread-router
openstack network delete spread-net
openstack security group delete spread-sg
openstack keypair delete spread
until_ok 30 "the audit is empty" "$BIN" audit --state-dir "$STATE_DIR"
ok "everything deleted, the audit is empty"
