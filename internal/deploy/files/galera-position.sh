# Prints the last position, "UUID:SEQNO", of a database that does not run.
export LC_ALL=C
systemctl stop mariadb || exit 1
[ -e /var/lib/mysql/ibdata1 ] || { echo 00000000-0000-0000-0000-000000000000:-1; exit 0; }
p=$(runuser -u mysql -- /usr/bin/galera_recovery 2>/dev/null) || { echo "cannot recover the position of the database: journalctl -u mariadb" >&2; exit 1; }
p=${p#*=}
s=$(awk '/^uuid:/ {u=$2} /^seqno:/ {s=$2} END {print u ":" s}' /var/lib/mysql/grastate.dat 2>/dev/null)
# a clean stop wrote it down; after a crash it is in the engine's log
case $s in ""|00000000-*|*:-1) ;; *) p=$s ;; esac
echo "$p"
