#!/bin/sh
# Runs as root before MariaDB starts. A member founds the cluster anew only if
# it was told to less than a minute ago, and only once: the order is used up
# before it is followed, and a power cut takes it along.
set -e
data=/var/lib/mysql order=/run/hastack-new-cluster env=/run/mariadb-wsrep-new-cluster
rm -f "$env" /run/hastack-galera/position
found=
[ -z "$(find "$order" -mmin -1 2>/dev/null)" ] || found=yes
rm -f "$order"
[ -d "$data" ] || install -d -o mysql -g mysql -m 0700 "$data"
install -d -o mysql -g root -m 0755 /run/mysqld
[ -n "$found" ] || exit 0
rm -f "$data/gvwstate.dat"
[ ! -e "$data/grastate.dat" ] || sed -i 's/^safe_to_bootstrap:.*/safe_to_bootstrap: 1/' "$data/grastate.dat"
echo _WSREP_NEW_CLUSTER=--wsrep-new-cluster > "$env"
