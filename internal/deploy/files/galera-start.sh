#!/bin/sh
# Becomes MariaDB, from the position that the last run reached. Without data
# there is none: the member gets everything from another.
set -f
tell=/run/hastack-galera/position
position=
if [ -e /var/lib/mysql/ibdata1 ]; then
	position=$(/usr/bin/galera_recovery) || exit 1
	echo "${position#*=}" > $tell
else
	echo 00000000-0000-0000-0000-000000000000:-1 > $tell
fi
exec /usr/sbin/mariadbd $MYSQLD_OPTS $_WSREP_NEW_CLUSTER $position
