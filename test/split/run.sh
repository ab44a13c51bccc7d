#!/bin/bash
# The services as separate processes on MariaDB, RabbitMQ and Memcached, and
# the API flow through them with the openstack command line. Servers are the
# fake driver's. Everything is on loopback and ends with the script.
set -euo pipefail
cd "$(dirname "$0")/../.."
BIN=$PWD/bin/hastack
engines=$PWD/test/engines
work=$(mktemp -d /tmp/hastack-split.XXXXXX)
chmod 755 "$work"
base=${SPLIT_PORT:-15800}
pids=()

cleanup() {
  local rc=$?
  trap - EXIT
  [ $rc -eq 0 ] || { echo "--- logs ---"; for f in "$work"/log/*.log; do echo "== $f"; grep -v DEBUG "$f" | tail -n 15; done; }
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  for p in "${pids[@]}"; do wait "$p" 2>/dev/null || true; done
  "$engines/memcached.sh" stop "$work/memcached" || true
  "$engines/rabbitmq.sh" stop "$work/rabbitmq" || true
  "$engines/mariadb.sh" stop "$work/mariadb" || true
  rm -rf "$work"
  exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
mysql_url=$("$engines/mariadb.sh" start "$work/mariadb" $((base + 90)))
rabbit_url=$("$engines/rabbitmq.sh" start "$work/rabbitmq" $((base + 91)))
cache=$("$engines/memcached.sh" start "$work/memcached" $((base + 92)))
say "engines: mariadb, rabbitmq, memcached"
for s in keystone glance placement nova neutron; do
  mariadb --no-defaults -u root -S "$work/mariadb/mysqld.sock" -e "create database $s character set utf8mb4"
done

state=$work/state
mkdir -p "$state" "$work/log"
url() { echo "http://127.0.0.1:$((base + $1))/$2"; }
cat >"$state/hastack.yaml" <<X
state_dir: $state
host: split
listen: 127.0.0.1:$base
endpoints:
  identity: $(url 1 identity)
  image: $(url 2 image)
  placement: $(url 3 placement)
  compute: $(url 4 compute)
  network: $(url 5 network)
database: {url: "$mysql_url"}
bus: {urls: ["$rabbit_url"]}
cache: {servers: ["$cache"]}
compute: {driver: fake}
identity: {bcrypt_cost: 4}
X
"$BIN" config init --state-dir "$state"

serve() { # PORT-OFFSET ROLE
  "$BIN" serve "$2" --config "$state/hastack.yaml" --listen "127.0.0.1:$((base + $1))" 2>"$work/log/$2.log" &
  pids+=($!)
  ready+=($((base + $1)))
}
ready=()
serve 1 keystone
serve 2 glance-api
serve 3 placement
serve 4 nova-api
serve 5 neutron-server
serve 6 nova-scheduler
serve 7 nova-conductor
serve 8 nova-compute
serve 9 nova-metadata
for port in "${ready[@]}"; do
  for _ in $(seq 300); do curl -sf -o /dev/null "http://127.0.0.1:$port/healthcheck" && break; sleep 0.1; done
  curl -sf "http://127.0.0.1:$port/healthcheck" >/dev/null || { echo "FAIL the service on port $port is not ready: $(curl -s "http://127.0.0.1:$port/healthcheck")" >&2; exit 1; }
done
say "nine processes are ready"

export OS_CLIENT_CONFIG_FILE=$state/clouds.yaml OS_CLOUD=hastack-admin
test/split/flow.sh
say "ok   the API flow passes on separate processes"
