#!/bin/sh
# A MariaDB of its own for tests: on loopback, as durable as a production one,
# and untouched by the configuration in /etc.
#
#   mariadb.sh start DIR PORT   prints the URL of its test user
#   mariadb.sh stop  DIR        ends it, by the pid in DIR/pid; DIR stays
#   mariadb.sh url   DIR PORT
#
# The user may create databases. HASTACK_TEST_MYSQL takes the URL.
set -eu

user=hastack
password=hastack

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
die() { echo "mariadb.sh: $*" >&2; exit 1; }

config() { # DIR PORT
	cat > "$1/my.cnf" <<-CNF
	[mysqld]
	datadir=$1/data
	socket=$1/mysqld.sock
	pid-file=$1/pid
	tmpdir=$1/tmp
	log_error=$1/error.log
	port=$2
	bind-address=127.0.0.1
	skip-name-resolve
	character-set-server=utf8mb4
	default_storage_engine=InnoDB
	binlog_format=ROW
	innodb_autoinc_lock_mode=2
	innodb_flush_log_at_trx_commit=1
	innodb_buffer_pool_size=128M
	innodb_log_file_size=64M
	max_connections=500
	performance_schema=OFF
	CNF
	[ "$(id -u)" -ne 0 ] || echo "user=mysql" >> "$1/my.cnf"
}

start() { # DIR PORT
	dir=$1 port=$2
	daemon=$(command -v mariadbd || echo /usr/sbin/mariadbd)
	[ -x "$daemon" ] || die "mariadbd is not installed (Debian: mariadb-server)"
	mkdir -p "$dir/tmp"
	dir=$(cd "$dir" && pwd)
	running "$dir" && die "already running in $dir"
	rm -f "$dir/pid"
	config "$dir" "$port"
	[ "$(id -u)" -ne 0 ] || chown mysql: "$dir" "$dir/tmp"
	if [ ! -d "$dir/data/mysql" ]; then
		mariadb-install-db --defaults-file="$dir/my.cnf" --skip-test-db --auth-root-authentication-method=normal \
			> "$dir/install.log" 2>&1 || die "cannot make the database: see $dir/install.log"
	fi
	setsid "$daemon" --defaults-file="$dir/my.cnf" > "$dir/daemon.log" 2>&1 < /dev/null &
	daemon_pid=$! n=0
	until sql "$dir" "select 1" > /dev/null 2>&1; do
		n=$((n + 1))
		[ -e "/proc/$daemon_pid/exe" ] || die "ended at once: see $dir/error.log and $dir/daemon.log"
		[ $n -le 300 ] || die "not ready after 60 s: see $dir/error.log"
		sleep 0.2
	done
	sql "$dir" "create user if not exists '$user'@'127.0.0.1' identified by '$password';
		grant all privileges on *.* to '$user'@'127.0.0.1'"
	url "$dir" "$port"
}

sql() { # DIR STATEMENTS; the password-less root is reached by the socket only
	mariadb --no-defaults -u root -S "$1/mysqld.sock" -Ne "$2"
}

url() { echo "mysql://$user:$password@127.0.0.1:$2/"; }

running() { # DIR
	[ -s "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2> /dev/null
}

stop() { # DIR
	running "$1" || { rm -f "$1/pid"; return 0; }
	pid=$(cat "$1/pid")
	kill "$pid"
	n=0
	while [ -e "/proc/$pid/exe" ] && [ $n -lt 150 ]; do n=$((n + 1)); sleep 0.2; done
	[ ! -e "/proc/$pid/exe" ] || kill -9 "$pid"
	rm -f "$1/pid"
}

case ${1-} in
start) [ $# -eq 3 ] || usage; start "$2" "$3" ;;
stop) [ $# -eq 2 ] || usage; stop "$2" ;;
url) [ $# -eq 3 ] || usage; url "$2" "$3" ;;
*) usage ;;
esac
