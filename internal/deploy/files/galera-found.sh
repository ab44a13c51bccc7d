# Gives this server a database of its own if it has none, and the order to
# found the cluster with it.
set -e
export LC_ALL=C
data=/var/lib/mysql
install -d -o mysql -g mysql -m 0700 $data
if [ ! -e $data/mysql ]; then
	other=$(ls -A $data | grep -vx lost+found | head -1)
	[ -z "$other" ] || { echo "$data holds $other but no database: look at it, and empty the directory" >&2; exit 1; }
	new=/var/lib/mysql.new
	rm -rf $new
	mariadb-install-db --user=mysql --datadir=$new --skip-test-db --auth-root-authentication-method=socket >/dev/null
	# whole or not at all, unless the directory is a file system of its own
	if rmdir $data 2>/dev/null; then mv $new $data; else mv $new/[!m]* $data/; mv $new/* $data/; fi
	rm -rf $new
	chown mysql:mysql $data; chmod 0700 $data
fi
touch /run/hastack-new-cluster
