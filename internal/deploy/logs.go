package deploy

import (
	_ "embed" // the configuration under files/
	"fmt"
	"net/netip"
	"slices"

	"github.com/hastack/hastack/internal/logs"
	"github.com/hastack/hastack/internal/topology"
)

// Where logs are received, and the units of their part.
const (
	logsPort     = 6514
	rsyslogUnit  = "rsyslog.service"
	logsTimer    = "hastack-logs.timer"
	logsCompress = "hastack-logs.service"
)

//go:embed files/rsyslog.conf.tmpl
var rsyslogTemplate string

// logsPart sends every server's journal to those that keep the logs of the
// cluster. Two keep all, so the loss of one loses nothing; what is written
// while both are away waits on the sender's disk.
func logsPart() *Part {
	return &Part{Name: "logs", Servers: everyServer, Want: wantLogs}
}

type logKeeper struct {
	Name    string
	Address netip.Addr
	Port    int
}

func wantLogs(c *Context, s *topology.Server) (*Want, error) {
	view := map[string]any{
		"Name": s.Name, "CA": caFile, "Cert": certFile, "Key": keyFile, "Dir": logs.Dir,
		"Address": s.Management(), "Port": logsPort,
	}
	keepers := logs.Servers(c.Topology)
	var to []logKeeper
	for _, k := range keepers {
		to = append(to, logKeeper{k.Name, k.Management(), logsPort})
	}
	var senders []string
	for _, o := range c.Topology.Servers {
		senders = append(senders, o.Name)
	}
	keep := slices.Contains(keepers, s)
	view["Keepers"], view["Senders"], view["Keep"] = to, senders, keep
	conf, err := render("rsyslog.conf", rsyslogTemplate, view)
	if err != nil {
		return nil, err
	}
	w := &Want{
		Packages: []string{"rsyslog", "rsyslog-gnutls"},
		Dirs:     []Directory{{Path: "/var/spool/rsyslog", Group: "adm", Mode: 0o700}},
		Files: []File{
			{Path: "/etc/rsyslog.conf", Mode: 0o644, Content: conf, Restart: []string{rsyslogUnit}},
		},
		Units: []Unit{{Name: rsyslogUnit, Content: rsyslogService, Enabled: true, Running: true}},
	}
	if keep {
		w.Packages = append(w.Packages, "gzip")
		w.Dirs = append(w.Dirs, Directory{Path: logs.Dir, Group: "adm", Mode: 0o750})
		w.Units = append(w.Units,
			Unit{Name: logsCompress, Content: fmt.Sprintf(compressUnit, logs.Dir, int(logs.Keep.Hours()/24))},
			Unit{Name: logsTimer, Content: compressTimer, Enabled: true, Running: true})
	}
	return w, nil
}

// rsyslogService replaces Debian's unit, which wants a socket that the journal
// would fill and nobody here reads.
const rsyslogService = `# Written by hastack deploy; changes made here are drift and are undone.
[Unit]
Description=Forwarding of the journal to the servers that keep the logs
Documentation=man:rsyslogd(8)
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/usr/sbin/rsyslogd -n -iNONE
StandardOutput=null
Restart=always
RestartSec=1s
TimeoutStopSec=10
LimitNOFILE=16384
OOMScoreAdjust=300
Environment=MALLOC_ARENA_MAX=1
ProtectSystem=full
ProtectHome=yes
PrivateTmp=yes
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
`

// compressUnit keeps yesterday's files small and removes old ones. A file that
// is compressed is complete: it was not written to for a day.
const compressUnit = `[Unit]
Description=Compress and remove old logs of the cluster

[Service]
Type=oneshot
Nice=10
IOSchedulingClass=idle
ExecStart=/usr/bin/find %[1]s -name '*.jsonl' -mmin +1500 -exec gzip -q {} +
ExecStart=/usr/bin/find %[1]s -name '*.jsonl.gz' -mtime +%[2]d -delete
`

const compressTimer = `[Unit]
Description=Compress and remove old logs of the cluster, once a day

[Timer]
OnCalendar=daily
RandomizedDelaySec=1h
Persistent=true

[Install]
WantedBy=timers.target
`
