#!/bin/sh
# A RabbitMQ of its own for tests: one node, on loopback, with its own cookie,
# data and name, so that it meets no other.
#
#   rabbitmq.sh start DIR PORT   prints its URL
#   rabbitmq.sh stop  DIR        ends it, by the pid in DIR/pid; messages stay
#
# HASTACK_TEST_RABBITMQ takes the URL. PORT+1 and PORT+2 are used between
# its parts: ports below the ones that the kernel gives to outgoing connections.
set -eu

user=hastack
password=hastack

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
die() { echo "rabbitmq.sh: $*" >&2; exit 1; }

config() { # DIR PORT
	cat > "$1/rabbitmq.conf" <<-CONF
	listeners.tcp.default = 127.0.0.1:$2
	loopback_users = none
	default_user = $user
	default_pass = $password
	total_memory_available_override_value = 1GB
	disk_free_limit.absolute = 50MB
	log.file.level = warning
	CONF
	echo "[]." > "$1/enabled_plugins"
	: > "$1/rabbitmq-env.conf"
	[ -s "$1/.erlang.cookie" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$1/.erlang.cookie"
	chmod 400 "$1/.erlang.cookie"
}

start() { # DIR PORT
	dir=$1 port=$2
	daemon=/usr/lib/rabbitmq/bin/rabbitmq-server # not the wrapper in /usr/sbin, which wants the system's paths
	[ -x $daemon ] || die "RabbitMQ is not installed (Debian: rabbitmq-server)"
	mkdir -p "$dir/log" "$dir/mnesia"
	dir=$(cd "$dir" && pwd)
	running "$dir" && die "already running in $dir"
	rm -f "$dir/pid"
	config "$dir" "$port"
	as=
	if [ "$(id -u)" -eq 0 ]; then
		chown -R rabbitmq: "$dir"
		as="setpriv --reuid rabbitmq --regid rabbitmq --clear-groups"
	fi
	# epmd stays on loopback too, on a port of its own, so that it ends with
	# this node and is not shared with the system's.
	# shellcheck disable=SC2086
	setsid $as env -i PATH="$PATH" HOME="$dir" LANG=C.UTF-8 \
		ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$((port + 2)) \
		RABBITMQ_NODENAME="test$port@localhost" RABBITMQ_DIST_PORT=$((port + 1)) \
		RABBITMQ_MNESIA_BASE="$dir/mnesia" RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_LOGS="$dir/log/rabbit.log" \
		RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$dir/rabbitmq-env.conf" \
		RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" RABBITMQ_PID_FILE="$dir/pid" \
		RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}' \
		$daemon > "$dir/daemon.log" 2>&1 < /dev/null &
	daemon_pid=$! n=0
	until ready "$dir" "$port"; do
		n=$((n + 1))
		[ -e "/proc/$daemon_pid/exe" ] || { stop_epmd "$dir"; die "ended at once: $(tail -n 3 "$dir/daemon.log")"; }
		[ $n -le 450 ] || die "port $port is not open after 90 s: see $dir/daemon.log"
		sleep 0.2
	done
	echo "amqp://$user:$password@127.0.0.1:$port/"
}

ready() { # DIR PORT: ours lives and the port is open
	running "$1" && grep -q "0100007F:$(printf %04X "$2") 00000000:0000 0A" /proc/net/tcp
}

running() { # DIR
	[ -s "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2> /dev/null
}

stop() { # DIR
	if running "$1"; then
		pid=$(cat "$1/pid")
		kill "$pid"
		n=0
		while [ -e "/proc/$pid/exe" ] && [ $n -lt 150 ]; do n=$((n + 1)); sleep 0.2; done
		[ ! -e "/proc/$pid/exe" ] || kill -9 "$pid"
	fi
	rm -f "$1/pid"
	stop_epmd "$1"
}

# stop_epmd ends the port mapper that this node started: the one whose
# environment names our directory.
stop_epmd() { # DIR
	dir=$(cd "$1" && pwd)
	for proc in /proc/[0-9]*; do
		case $(readlink "$proc/exe" 2> /dev/null) in */epmd) ;; *) continue ;; esac
		if tr '\0' '\n' < "$proc/environ" 2> /dev/null | grep -x "HOME=$dir" > /dev/null; then
			kill "${proc#/proc/}" 2> /dev/null || true
		fi
	done
}

case ${1-} in
start) [ $# -eq 3 ] || usage; start "$2" "$3" ;;
stop) [ $# -eq 2 ] || usage; stop "$2" ;;
*) usage ;;
esac
