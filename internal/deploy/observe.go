package deploy

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/hastack/hastack/internal/topology"
)

// stateDir is where deploy keeps on each server, for each part, what it wrote
// (PART.records: what a later difference is drift from) and which restarts are
// due (PART.pending).
const stateDir = "/var/lib/hastack/deploy"

// observeScript reads lines "kind TAB name" and answers for each what is
// there, with tabs between the fields. It changes nothing.
// HASTACK_DEPLOY_ROOT lets tests look at a directory instead of /.
const observeScript = `
set -u; export LC_ALL=C; tab=$(printf '\t'); r=${HASTACK_DEPLOY_ROOT:-}; state=$r` + stateDir + `
packages= units= part=
# A large file whose inode did not change since it was written is not read.
sum() {
  if [ "$(stat -c %s "$p")" -gt 8000000 ] && [ -f "$state/$part.records" ]; then
    h=$(stat -c '%i %s %z' "$p")
    h=$(awk -F '\t' -v k="stat $name" -v f="file $name" -v now="$h" '$1 == k { was = $2 } $1 == f { sum = $2 } END { if (was == now) print sum }' "$state/$part.records")
    [ -z "$h" ] || return 0
  fi
  h=$(sha256sum < "$p")
}
while IFS="$tab" read -r kind name; do
  p=$r$name
  case $kind in
  part) part=$name
    [ ! -f "$state/$name.records" ] || sed "s/^/record$tab/" "$state/$name.records"
    [ ! -f "$state/$name.pending" ] || sed "s/^/pending$tab/" "$state/$name.pending" ;;
  package) packages="$packages $name" ;;
  unit) units="$units $name" ;;
  user) if id -u "$name" >/dev/null 2>&1; then printf 'user\t%s\t%s\n' "$name" "$(id -Gn "$name")"; fi ;;
  path)
    if [ -L "$p" ]; then printf 'path\t%s\tlink\t%s\n' "$name" "$(readlink "$p")"
    elif [ -d "$p" ]; then printf 'path\t%s\tdir\t%s\n' "$name" "$(stat -c '%a %U %G' "$p")"
    elif [ -f "$p" ]; then sum; printf 'path\t%s\tfile\t%s\t%s\n' "$name" "$(stat -c '%a %U %G' "$p")" "${h%% *}"
    elif [ -e "$p" ]; then printf 'path\t%s\tother\n' "$name"; fi ;;
  esac
done
[ -z "$packages" ] || dpkg-query -W -f 'package\t${Package}\t${db:Status-Abbrev}\n' $packages 2>/dev/null || true
[ -z "$units" ] || { echo units; systemctl show -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload -- $units; }
echo end
`

// have is what is on a server of what a part wants.
type have struct {
	packages map[string]bool
	users    map[string][]string // groups
	paths    map[string]found
	units    map[string]unitState
	records  map[string]string // "file PATH" → what deploy wrote, "unit NAME" → "up"
	pending  []action
}

// found is a path that is there.
type found struct {
	kind               string // file, dir, link, other
	mode, owner, group string
	sum                string // of a file
	target             string // of a link
}

// unitState is what systemd says of a unit.
type unitState struct {
	known       bool   // systemd can load it
	active      bool   // or on its way
	state       string // active, inactive, failed, activating
	file        string // enabled, disabled, masked, static
	needsReload bool
}

// action is something that is due after files changed.
type action struct{ kind, name string }

// observe looks at one server.
func observe(ctx context.Context, c *Context, p *Part, s *topology.Server, w *Want) (*have, error) {
	var ask bytes.Buffer
	line := func(kind, name string) { fmt.Fprintf(&ask, "%s\t%s\n", kind, name) }
	line("part", p.Name)
	for _, name := range w.Packages {
		line("package", name)
	}
	for _, u := range w.Users {
		line("user", u.Name)
	}
	for _, d := range w.Dirs {
		line("path", d.Path)
	}
	for _, f := range w.allFiles() {
		line("path", f.Path)
	}
	for _, path := range w.Absent {
		line("path", path)
	}
	for _, u := range w.unitNames() {
		line("unit", u)
	}
	out, err := c.Run(ctx, s, observeScript, &ask)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", s.Name, err)
	}
	return parseObserved(s, w, string(out))
}

func parseObserved(s *topology.Server, w *Want, out string) (*have, error) {
	h := &have{packages: map[string]bool{}, users: map[string][]string{}, paths: map[string]found{}, units: map[string]unitState{}, records: map[string]string{}}
	out, whole := strings.CutSuffix(out, "end\n")
	if !whole {
		return nil, fmt.Errorf("look at %s: the answer is cut off", s.Name)
	}
	out, units, _ := strings.Cut(out, "units\n")
	for l := range strings.Lines(out) {
		f := strings.Split(strings.TrimSuffix(l, "\n"), "\t")
		for len(f) < 5 {
			f = append(f, "")
		}
		switch f[0] {
		case "record":
			h.records[f[1]] = f[2]
		case "pending":
			h.pending = append(h.pending, action{f[1], f[2]})
		case "package":
			h.packages[f[1]] = strings.HasPrefix(f[2], "ii")
		case "user":
			h.users[f[1]] = strings.Fields(f[2])
		case "path":
			h.paths[f[1]] = parsePath(f)
		}
	}
	// systemctl tells of the units in the order in which they were asked for.
	blocks := strings.Split(units, "\n\n")
	for i, name := range w.unitNames() {
		if i < len(blocks) {
			h.units[name] = parseUnit(blocks[i])
		}
	}
	return h, nil
}

func parsePath(f []string) found {
	at := found{kind: f[2]}
	switch at.kind {
	case "link":
		at.target = f[3]
	case "dir", "file":
		if m := strings.Fields(f[3]); len(m) == 3 {
			at.mode, at.owner, at.group = m[0], m[1], m[2]
		}
		at.sum = f[4]
	}
	return at
}

func parseUnit(text string) unitState {
	var u unitState
	for kv := range strings.FieldsSeq(text) {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "LoadState":
			u.known = v == "loaded" || v == "masked"
		case "ActiveState":
			u.active, u.state = v == "active" || v == "reloading" || v == "activating", v
		case "UnitFileState":
			u.file = v
		case "NeedDaemonReload":
			u.needsReload = v == "yes"
		}
	}
	return u
}
