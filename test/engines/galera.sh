#!/bin/sh
# Three MariaDB Galera members in network namespaces, with HAProxy in front
# that sends everybody to one writer. Needs root.
#
#   galera.sh start NAME DIR       namespaces NAME-1..3 and NAME-op (HAProxy at 10.99.7.1:3306); prints the URL of a user
#   galera.sh writer NAME DIR      prints the number of the member that has the clients
#   galera.sh kill|freeze|thaw|cut|heal NAME DIR N
#   galera.sh run NAME DIR N       starts member N again
#   galera.sh await NAME DIR       waits until all three are in step
#   galera.sh stop NAME DIR        ends everything and leaves DIR
set -eu
cmd=${1:?} name=${2:?} dir=${3:?} n=${4:-}
net=10.99.7
sql() { m=$1; shift; mariadb --no-defaults -S "$dir/$m/sock" -uroot -Ne "$*"; }

member() { # N [flag]
	d=$dir/$1
	ip netns exec "$name-$1" setsid mariadbd --defaults-file="$d/my.cnf" ${2:-} >"$d/out" 2>&1 </dev/null &
}
config() {
	cat > "$dir/$1/my.cnf" <<-CNF
	[mysqld]
	user=mysql
	datadir=$dir/$1/data
	socket=$dir/$1/sock
	pid-file=$dir/$1/pid
	tmpdir=$dir/$1/tmp
	log_error=$dir/$1/err.log
	bind-address=0.0.0.0
	skip-name-resolve
	binlog_format=ROW
	default_storage_engine=InnoDB
	innodb_autoinc_lock_mode=2
	innodb_flush_log_at_trx_commit=1
	innodb_buffer_pool_size=32M
	innodb_log_file_size=16M
	performance_schema=OFF
	idle_transaction_timeout=20
	wsrep_on=ON
	wsrep_provider=/usr/lib/galera/libgalera_smm.so
	wsrep_cluster_name=$name
	wsrep_cluster_address=gcomm://$net.11,$net.12,$net.13
	wsrep_node_name=n$1
	wsrep_node_address=$net.1$1
	wsrep_sst_method=rsync
	wsrep_provider_options="gcache.size=32M;evs.keepalive_period=PT0.3S;evs.inactive_check_period=PT0.3S;evs.suspect_timeout=PT1.5S;evs.inactive_timeout=PT3S;evs.install_timeout=PT3S;evs.join_retrans_period=PT0.3S;gmcast.peer_timeout=PT1.5S"
	CNF
}
balancer() {
	cat > "$dir/haproxy.cfg" <<-CFG
	defaults
	    mode tcp
	    timeout connect 1s
	    timeout check 700ms
	    timeout client 1h
	    timeout server 1h
	    option redispatch 1
	listen database
	    bind $net.1:3306
	    option mysql-check user check
	    default-server check inter 500ms fastinter 200ms downinter 500ms fall 2 rise 2 on-marked-down shutdown-sessions
	    stick-table type ip size 1 nopurge
	    stick on dst
	    server m1 $net.11:3306
	    server m2 $net.12:3306 backup
	    server m3 $net.13:3306 backup
	CFG
	ip netns exec "$name-op" haproxy -D -f "$dir/haproxy.cfg" -p "$dir/haproxy.pid" 2>"$dir/haproxy.log"
}
synced() { [ "$(sql "$1" "SHOW STATUS LIKE 'wsrep_local_state_comment'" 2>/dev/null | cut -f2)" = Synced ]; }
await() { # N SECONDS
	i=0
	until synced "$1"; do i=$((i + 1)); [ $i -lt $(($2 * 5)) ] || { tail -20 "$dir/$1/err.log" >&2; echo "member $1 is not in step" >&2; exit 1; }; sleep 0.2; done
}

case $cmd in
start)
	ip netns add "$name-op"; ip -n "$name-op" link set lo up
	ip -n "$name-op" link add br0 type bridge; ip -n "$name-op" link set br0 up; ip -n "$name-op" addr add $net.1/24 dev br0
	ip netns exec "$name-op" sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
	for i in 1 2 3; do
		ip netns add "$name-$i"; ip -n "$name-$i" link set lo up
		ip -n "$name-op" link add p$i type veth peer name eth0 netns "$name-$i"; ip -n "$name-op" link set p$i master br0 up
		ip -n "$name-$i" addr add $net.1$i/24 dev eth0; ip -n "$name-$i" link set eth0 up
		mkdir -p "$dir/$i/data" "$dir/$i/tmp"; config $i; chown -R mysql:mysql "$dir/$i"
	done
	mariadb-install-db --defaults-file="$dir/1/my.cnf" --user=mysql --skip-test-db --auth-root-authentication-method=normal >/dev/null 2>&1
	member 1 --wsrep-new-cluster; await 1 60
	sql 1 "CREATE USER hastack@'%' IDENTIFIED BY 'hastack'; GRANT ALL ON *.* TO hastack@'%'; CREATE USER 'check'@'%'; CREATE DATABASE probe CHARACTER SET utf8mb4"
	member 2; await 2 120
	member 3; await 3 120
	balancer
	echo "mysql://hastack:hastack@$net.1:3306/probe" ;;
writer) for i in 1 2 3; do echo "$(ip netns exec "$name-$i" ss -Htn state established 'sport = :3306' | wc -l) $i"; done | sort -rn | sed -n 1p | cut -d' ' -f2 ;;
kill) kill -9 "$(cat "$dir/$n/pid")" ;;
freeze) kill -STOP "$(cat "$dir/$n/pid")" ;;
thaw) kill -CONT "$(cat "$dir/$n/pid")" ;;
cut) ip -n "$name-op" link set "p$n" down ;;
heal) ip -n "$name-op" link set "p$n" up ;;
run) rm -f "$dir/$n/pid"; member "$n" ;;
await) for i in 1 2 3; do await $i 120; done ;;
stop)
	for i in 1 2 3 op; do ip netns pids "$name-$i" 2>/dev/null | xargs -r kill -9; done
	sleep 0.5
	for i in 1 2 3 op; do ip netns del "$name-$i" 2>/dev/null || true; done ;;
*) sed -n '2,12p' "$0" >&2; exit 2 ;;
esac
