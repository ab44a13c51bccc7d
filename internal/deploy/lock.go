package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

// lockScript holds a lock for as long as its session lives: a deploy that is
// killed lets go of it at once.
const lockScript = `lock=${HASTACK_DEPLOY_ROOT:-}/run/hastack-deploy.lock
exec 9>>$lock
flock -n 9 || { echo "another deploy is running ($(cat $lock)): wait until it ends" >&2; exit 75; }
echo "since $(date -u +%FT%TZ), from ${SSH_CLIENT%% *}" > $lock
echo locked
exec cat >/dev/null`

// quiesceScript waits until what an earlier, killed deploy had begun on the
// server has ended, and ends what does not end by itself.
const quiesceScript = `set -u
self=$(readlink /proc/self/ns/pid)
left() {
  for e in $(grep -lzs '^` + runMark + `=CLUSTER/' /proc/[0-9]*/environ); do
    p=${e#/proc/}; p=${p%/environ}
    # A container's processes are another server's.
    [ "$(cat /proc/$p/comm 2>/dev/null)" = sh ] && [ "$(readlink /proc/$p/ns/pid)" = "$self" ] || continue
    env=$(tr '\0' '\n' < $e 2>/dev/null)
    case "
$env
" in
    *"
` + runMark + `=THIS-RUN
"*) ;;
    *"
HASTACK_DEPLOY_ROOT=${HASTACK_DEPLOY_ROOT:-}
"*) echo $p ;;
    *) [ "${HASTACK_DEPLOY_ROOT:-}" ] || echo $p ;;
    esac
  done
}
i=0
while pids=$(left); [ "$pids" ]; do
  i=$((i + 1))
  if [ $i = 60 ]; then for p in $pids; do kill -TERM -- -"$(ps -o sid= -p $p | tr -d ' ')" 2>/dev/null; done; fi
  if [ $i = 80 ]; then for p in $pids; do kill -KILL -- -"$(ps -o sid= -p $p | tr -d ' ')" 2>/dev/null; done; fi
  if [ $i = 90 ]; then echo "a command of an earlier deploy does not end: process" $pids >&2; exit 1; fi
  sleep 0.5
done`

// Lock makes this the only deploy of the cluster: on this machine by the
// cluster directory, everywhere by the first control server. It waits for
// what a killed deploy left running on the servers.
func (c *Context) Lock(ctx context.Context) (unlock func(), err error) {
	local, err := c.Cluster.Lock()
	if err != nil {
		return nil, err
	}
	control := c.Topology.With(topology.RoleControl)
	if len(control) == 0 {
		local()
		return nil, errors.New("the topology has no server with the role control")
	}
	conn, err := c.Cluster.SSH(ctx, control[0])
	if err != nil {
		local()
		return nil, err
	}
	release, err := conn.Hold(ctx, lockScript)
	if err != nil {
		local()
		var busy *cluster.ScriptError
		if errors.As(err, &busy) && busy.Code == 75 {
			return nil, fmt.Errorf("cluster %s: %s", c.Topology.Name, busy.Said)
		}
		return nil, err
	}
	unlock = func() { release(); local() }
	c.run = c.Topology.Name + "/" + rand.Text()
	err = c.Everywhere(ctx, c.Topology.Servers, func(ctx context.Context, s *topology.Server) error {
		_, err := c.Run(ctx, s, strings.NewReplacer("THIS-RUN", c.run, "CLUSTER", c.Topology.Name).Replace(quiesceScript), nil)
		return err
	})
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}
