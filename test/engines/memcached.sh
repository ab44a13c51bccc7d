#!/bin/sh
# A Memcached of its own for tests, on loopback.
#
#   memcached.sh start DIR PORT   prints its address
#   memcached.sh stop  DIR        ends it, by the pid in DIR/pid
#
# HASTACK_TEST_MEMCACHED takes the address.
set -eu

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
die() { echo "memcached.sh: $*" >&2; exit 1; }

start() { # DIR PORT
	dir=$1 port=$2
	command -v memcached > /dev/null || die "memcached is not installed"
	mkdir -p "$dir"
	running "$dir" && die "already running in $dir"
	as=
	[ "$(id -u)" -ne 0 ] || as="-u nobody"
	# shellcheck disable=SC2086
	setsid memcached $as -l 127.0.0.1 -p "$port" -U 0 -m 64 -c 1024 > "$dir/log" 2>&1 < /dev/null &
	pid=$!
	echo "$pid" > "$dir/pid"
	n=0
	until ready "$port"; do
		n=$((n + 1))
		kill -0 "$pid" 2> /dev/null || die "ended at once: $(cat "$dir/log")"
		[ $n -le 100 ] || die "port $port is not open after 10 s"
		sleep 0.1
	done
	echo "127.0.0.1:$port"
}

ready() { # PORT: something listens, and it is ours since the process lives
	grep -q "0100007F:$(printf %04X "$1") 00000000:0000 0A" /proc/net/tcp
}

running() { # DIR
	[ -s "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2> /dev/null
}

stop() { # DIR
	running "$1" || { rm -f "$1/pid"; return 0; }
	pid=$(cat "$1/pid")
	kill "$pid"
	n=0
	while [ -e "/proc/$pid/exe" ] && [ $n -lt 50 ]; do n=$((n + 1)); sleep 0.1; done
	[ ! -e "/proc/$pid/exe" ] || kill -9 "$pid"
	rm -f "$1/pid"
}

case ${1-} in
start) [ $# -eq 3 ] || usage; start "$2" "$3" ;;
stop) [ $# -eq 2 ] || usage; stop "$2" ;;
*) usage ;;
esac
