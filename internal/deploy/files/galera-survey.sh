# Prints what the database on this server is: one line of words.
#   daemon: primary SIZE STATE CONNECTIONS | waiting (runs without a quorum, or starts) | stopped
#   data:   UUID SEQNO | none
#   agent:  agent | alone (nobody here brings a broken cluster back)
export LC_ALL=C
status() { timeout 5 mariadb -Ne "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_status','wsrep_cluster_size','wsrep_local_state','Threads_connected')" 2>/dev/null |
	sort | awk '{v[$1]=$2} END {if (v["wsrep_cluster_status"] == "Primary") print "primary", v["wsrep_cluster_size"], v["wsrep_local_state"], v["Threads_connected"]}'; }
daemon=stopped
case $(systemctl show -p ActiveState --value mariadb 2>/dev/null) in
active|activating|reloading|deactivating) daemon=$(status); [ -n "$daemon" ] || daemon=waiting ;;
esac
data=none
if [ -e /var/lib/mysql/grastate.dat ]; then
	data=$(awk '/^uuid:/ {u=$2} /^seqno:/ {s=$2} END {print u, s}' /var/lib/mysql/grastate.dat)
fi
case $data in 00000000-*) data=none ;; esac
agent=alone
systemctl -q is-active hastack-node 2>/dev/null && agent=agent
echo "$daemon / $data / $agent"
