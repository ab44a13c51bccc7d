package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hastack/hastack/internal/topology"
)

// stateFaults hit where the state of the cloud is kept.
func stateFaults(t *Target) []*Fault {
	return []*Fault{
		allDatabases(t),
		diskFull(t, "a database that is not the writer: disk full", t.otherDatabase),
		diskFull(t, "database writer: disk full", t.writer),
		wiped(t),
	}
}

// allDatabases kills every mariadbd within one second. They have to find the
// one with the last commit by themselves.
func allDatabases(t *Target) *Fault {
	return &Fault{Name: "all mariadbd killed within one second", Kind: KindState, Alarms: alarmsOf(KindState), Hold: 3 * time.Second, Settle: 3 * time.Minute,
		Inject: func(ctx context.Context) error {
			begun := t.Clock.Now()
			g, ctx := errgroup.WithContext(ctx)
			for _, s := range t.Topology.With(topology.RoleControl) {
				g.Go(func() error {
					_, err := t.on(ctx, s.Name, fmt.Sprintf(sendSignal, "main", "KILL", "mariadb"))
					return err
				})
			}
			if err := g.Wait(); err != nil {
				return err
			}
			if took := t.Clock.Now().Sub(begun); took > time.Second {
				return errors.New("killing took " + took.String() + ", so that they were not killed within one second")
			}
			return nil
		}}
}

// The datadir is moved for the drill onto a file system of its own that has
// little room, so that filling it cannot fill anybody else's disk; the server's
// own directory stays untouched below.
const (
	limitDisk = `set -e
mountpoint -q /var/lib/mysql && { echo "/var/lib/mysql is a mount already" >&2; exit 1; }
systemctl stop mariadb.service
kb=$(du -sk /var/lib/mysql | cut -f1)
mkdir -p /run/hastack-drill
mount -t tmpfs -o size=$((kb + 327680))k,mode=0755 hastack-drill /run/hastack-drill
cp -a /var/lib/mysql/. /run/hastack-drill/
chown --reference=/var/lib/mysql /run/hastack-drill
chmod --reference=/var/lib/mysql /run/hastack-drill
mount --bind /run/hastack-drill /var/lib/mysql
systemctl start mariadb.service`
	fillDisk = `dd if=/dev/zero of=/var/lib/mysql/hastack-drill-filler bs=64k 2>/dev/null; df -k --output=avail /var/lib/mysql | tail -1`
	freeDisk = `rm -f /run/hastack-drill/hastack-drill-filler`
	ownDisk  = `mountpoint -q /var/lib/mysql || exit 0
systemctl stop mariadb.service
umount /var/lib/mysql && umount /run/hastack-drill && rmdir /run/hastack-drill
systemctl reset-failed mariadb.service
systemctl start --no-block mariadb.service`
)

// diskFull fills the disk of one database until a write fails.
func diskFull(t *Target, name string, which func(ctx context.Context) (string, error)) *Fault {
	var server string
	return &Fault{Name: name, Kind: KindState, Hold: 10 * time.Second, Settle: 4 * time.Minute, Alarms: []string{"DiskFull"},
		Prepare: func(ctx context.Context) error {
			var err error
			if server, err = which(ctx); err != nil {
				return err
			}
			if _, err := t.within(ctx, 2*time.Minute, server, limitDisk); err != nil {
				return err
			}
			return t.untilHealthy(ctx, 3*time.Minute)
		},
		Inject: func(ctx context.Context) error {
			_, err := t.within(ctx, time.Minute, server, fillDisk)
			return err
		},
		Heal: func(ctx context.Context) error {
			if server == "" {
				return nil
			}
			_, err := t.on(ctx, server, freeDisk)
			return err
		},
		Restore: func(ctx context.Context) error {
			if server == "" {
				return nil
			}
			_, err := t.within(ctx, 2*time.Minute, server, ownDisk)
			return err
		}}
}

// wiped loses one database's disk; it has to get everything from the others.
func wiped(t *Target) *Fault {
	var server string
	return &Fault{Name: "a database wiped, rejoins", Kind: KindState, Alarms: alarmsOf(KindState), Hold: 3 * time.Second, Settle: 5 * time.Minute,
		Prepare: func(ctx context.Context) (err error) { server, err = t.otherDatabase(ctx); return err },
		Inject: func(ctx context.Context) error {
			_, err := t.within(ctx, time.Minute, server, fmt.Sprintf(sendSignal, "main", "KILL", "mariadb")+`
set -e
systemctl stop mariadb.service
find /var/lib/mysql -mindepth 1 -delete`)
			return err
		},
		Heal: func(ctx context.Context) error {
			if server == "" {
				return nil
			}
			_, err := t.on(ctx, server, "systemctl reset-failed mariadb.service; systemctl start --no-block mariadb.service")
			return err
		}}
}

// untilHealthy waits until every layer is healthy.
func (t *Target) untilHealthy(ctx context.Context, bound time.Duration) error {
	end := t.Clock.Now().Add(bound)
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := t.Healthy(try)
		cancel()
		if err == nil || t.Clock.Now().After(end) {
			return err
		}
		if e := sleep(ctx, t.Clock, time.Second); e != nil {
			return errors.Join(err, e)
		}
	}
}
