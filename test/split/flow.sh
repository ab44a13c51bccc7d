#!/bin/bash
# The end-to-end API flow with the openstack command line, for any cloud whose
# clouds.yaml is in the environment; servers may be simulated.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAIL $*" >&2; exit 1; }
value() { openstack "$@" -f value; }

value token issue -c project_id >/dev/null
head -c 1048576 /dev/zero >"$work/disk"
value image create --file "$work/disk" --disk-format raw --container-format bare flow -c status >/dev/null
[ "$(value image show flow -c status)" = active ] || fail "the image is not active"
value flavor create --id flow --vcpus 1 --ram 64 --disk 1 flow -c id >/dev/null
value network create flow -c id >/dev/null
value subnet create --network flow --subnet-range 10.66.0.0/24 flow -c cidr >/dev/null
value security group create flow -c id >/dev/null
value security group rule create --protocol tcp --dst-port 22 flow -c id >/dev/null
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
openstack keypair create --public-key "$work/key.pub" flow >/dev/null
status=$(value server create --image flow --flavor flow --network flow --security-group flow --key-name flow --wait one -c status | tail -n 1)
[ "$status" = ACTIVE ] || fail "server one is $status"
grep -q '10\.66\.0\.' <<<"$(value server show one -c addresses)" || fail "server one has no address"
openstack server stop one
for _ in $(seq 50); do [ "$(value server show one -c status)" = SHUTOFF ] && break; sleep 0.2; done
[ "$(value server show one -c status)" = SHUTOFF ] || fail "server one does not stop"
openstack server start one
for _ in $(seq 50); do [ "$(value server show one -c status -c OS-EXT-STS:task_state | tr '\n' ' ')" = "None ACTIVE " ] && break; sleep 0.2; done
[ "$(value server show one -c status)" = ACTIVE ] || fail "server one does not start"
openstack server image create --name flow-snap --wait one >/dev/null
[ "$(value image show flow-snap -c status)" = active ] || fail "the snapshot is not active"
[ "$(value server list -c Name | wc -l)" = 1 ] || fail "the list is not right"
value resource provider list -c name >/dev/null 2>&1 || true
openstack server delete --wait one
openstack image delete flow flow-snap
openstack network delete flow
openstack security group delete flow
openstack keypair delete flow
openstack flavor delete flow
echo "ok   image, flavor, network, security group, key, server: create, stop, start, snapshot, delete"
