#!/bin/sh
# Becomes MariaDB, from the position that the last run reached. Without data
# there is none: the member gets everything from another.
set -f
position=
if [ -e /var/lib/mysql/ibdata1 ]; then
	position=$(/usr/bin/galera_recovery) || exit 1
fi
exec /usr/sbin/mariadbd $MYSQLD_OPTS $_WSREP_NEW_CLUSTER $position
