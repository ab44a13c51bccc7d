package clustertest

import (
	"os"
	"path/filepath"
	"testing"
)

// tools stand in for programs that a test may not run for real. A unit's
// configuration is every file below etc/NAME (without its suffix) and its unit
// file; a start copies them, so that a test sees what the unit runs with.
var tools = map[string]string{
	"systemctl": `#!/bin/sh
r=$HASTACK_DEPLOY_ROOT; u=$r/.units
did() { echo "$*" >> "$r/.did"; }
bring() {
  for b in $BROKEN; do [ "$b" = "$1" ] && { rm -f "$u/$1.active"; return 1; }; done
  n=${1%.*}; cat "$r/etc/systemd/system/$1" "$r/etc/$n"/* > "$u/$1.active" 2>/dev/null; return 0
}
verb=$1; shift; rc=0; units=
while [ $# -gt 0 ]; do case $1 in -p) shift ;; -*) ;; *) units="$units $1" ;; esac; shift; done
case $verb in
show)
  for n in $units; do
    [ -f "$u/$n.active" ] && a=active || a=inactive
    [ -f "$u/$n.enabled" ] && e=enabled || e=disabled
    printf 'LoadState=loaded\nActiveState=%s\nUnitFileState=%s\nNeedDaemonReload=no\n\n' $a $e
  done ;;
enable) for n in $units; do did enable $n; : > "$u/$n.enabled"; done ;;
disable) for n in $units; do did disable $n; rm -f "$u/$n.enabled"; done ;;
start) for n in $units; do did start $n; bring $n || rc=1; done ;;
stop) for n in $units; do did stop $n; rm -f "$u/$n.active"; done ;;
restart|try-restart|try-reload-or-restart) for n in $units; do [ -f "$u/$n.active" ] || continue; did $verb $n; bring $n || rc=1; done ;;
is-active) for n in $units; do [ -f "$u/$n.active" ] || rc=3; done ;;
daemon-reload) did daemon-reload ;;
esac
exit $rc
`,
	"dpkg-query": `#!/bin/sh
shift 2; for n; do [ -f "$HASTACK_DEPLOY_ROOT/.units/$n.deb" ] && printf 'package\t%s\tii \n' "$n"; done; exit 0
`,
	"apt-get": `#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -o) shift ;; -*) ;; install) ;; update) exit 0 ;; *) echo "install $1" >> "$HASTACK_DEPLOY_ROOT/.did"; : > "$HASTACK_DEPLOY_ROOT/.units/$1.deb" ;; esac; shift; done
`,
	"dpkg":       "#!/bin/sh\nexit 0\n",
	"journalctl": "#!/bin/sh\necho the last words\n",
	"chown":      "#!/bin/sh\nexit 0\n",
	"sync":       "#!/bin/sh\nexit 0\n",
}

func writeTools(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	for name, text := range tools {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
}
