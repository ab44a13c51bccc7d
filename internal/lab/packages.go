package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// suite is the Debian release of the servers.
const suite = "bookworm"

// BasePackages are what a plain server has: what a Debian installation with
// sshd has, and little more.
func BasePackages() []string {
	return []string{"systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "iputils-ping", "procps",
		"ca-certificates", "python3-minimal", "kmod", "udev", "less", "curl", "nftables"}
}

// ClusterPackages are what a deployment installs on servers, together. A lab
// server has no way out to fetch them from, so they are in its shared root
// already, with their units disabled and their data empty.
func ClusterPackages() []string {
	return []string{"chrony", "mariadb-server", "mariadb-backup", "galera-4", "rsync", "socat", "rabbitmq-server",
		"memcached", "haproxy", "keepalived", "pacemaker", "corosync", "crmsh", "resource-agents", "prometheus",
		"prometheus-alertmanager", "rsyslog", "rsyslog-gnutls", "qemu-system-x86", "qemu-utils", "dnsmasq-base",
		"iputils-arping", "conntrack", "openssl", "genisoimage", "novnc", "tcpdump", "jq", "xfsprogs", "nftables"}
}

// emptied are the directories of data that the packages' own set-up fills.
func emptied() []string { return []string{"var/lib/mysql", "var/lib/rabbitmq/mnesia"} }

// layerKey names a layer: a changed list is another layer, and a lab that runs
// on the old one is left alone.
func layerKey(lists ...[]string) string {
	h := sha256.New()
	h.Write([]byte(suite))
	for _, l := range lists {
		h.Write([]byte("\n" + strings.Join(slices.Sorted(slices.Values(l)), " ")))
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
