# Shared by the start scripts.
export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root

# say prints a line that tests wait for on the console.
say() { echo "testvm: $*" >/dev/console; }

uptime_now() { cut -d' ' -f1 /proc/uptime; }

# address4 prints the first IPv4 address of interface $1 with its prefix length.
address4() { ip -4 -o addr show dev "$1" | awk '{print $4; exit}'; }
