package deploy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// applyScript reads lines "kind TAB name TAB ..." and carries them out; a put
// is followed by the file's bytes. It can be cut off anywhere: a file is moved
// into place only whole, a restart that it makes due is noted before, and what
// was written is noted after.
const applyScript = `
set -u; export LC_ALL=C; umask 077; tab=$(printf '\t'); r=${HASTACK_DEPLOY_ROOT:-}; state=$r` + stateDir + `
fail() { echo "$*" >&2; exit 1; }
parent() { [ -d "${1%/*}" ] || (umask 022; mkdir -p "${1%/*}") || fail "make the directory of $name"; }
note() { printf '%s\t%s\n' "$1" "$2" >> "$state/$part.records"; }
policy=$r/usr/sbin/policy-rc.d
if grep -qs hastack "$policy"; then rm -f "$policy"; fi
packages() {
  log=$state/apt.log; export DEBIAN_FRONTEND=noninteractive
  [ -e "$policy" ] || { printf '#!/bin/sh\n# hastack: installing starts nothing\nexit 101\n' > "$policy"; chmod 755 "$policy"; }
  dpkg --configure -a > "$log" 2>&1 </dev/null
  get="apt-get -q -y -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120"
  { $get install --no-install-recommends $1 || { $get update && $get install --no-install-recommends $1; }; } >> "$log" 2>&1 </dev/null
  ok=$?; if grep -qs hastack "$policy"; then rm -f "$policy"; fi
  [ $ok = 0 ] || { grep -a -e '^E:' -e '^dpkg: error' "$log" | tail -n 3 >&2; fail "install packages $1: see $log there"; }
}
mkdir -p "$state" || exit 1
whole=
while IFS="$tab" read -r kind name a b c d e; do
  p=$r$name; t="${p%/*}/.${p##*/}.hastack-new"
  case $kind in
  part) part=$name ;;
  packages) packages "$name" || exit 1 ;;
  user)
    id -u "$name" >/dev/null 2>&1 || useradd --system --user-group --home-dir "$a" --no-create-home --shell /usr/sbin/nologin "$name" </dev/null || fail "add user $name"
    [ -z "$b" ] || usermod -aG "$b" "$name" </dev/null || fail "add user $name to $b" ;;
  dir)
    parent "$p"; (umask 022; mkdir -p "$p") && chown "$a:$b" "$p" && chmod "$c" "$p" && note "dir $name" made || fail "make directory $name" ;;
  due) printf '%s\t%s\n' "$name" "$a" >> "$state/$part.pending" && sync "$state/$part.pending" || fail "note what is due" ;;
  put)
    parent "$p"; rm -rf "$t"; head -c "$e" > "$t" || fail "write $name"
    h=$(sha256sum < "$t"); [ "${h%% *}" = "$d" ] || { rm -f "$t"; fail "write $name: the content arrived damaged or the disk is full"; }
    chown "$a:$b" "$t" && chmod "$c" "$t" && sync "$t" && mv -T "$t" "$p" || { rm -f "$t"; fail "write $name"; }
    [ "$e" -le 8000000 ] || note "stat $name" "$(stat -c '%i %s %z' "$p")"
    note "file $name" "$d" ;;
  link) parent "$p"; rm -rf "$t"; ln -s "$a" "$t" && mv -T "$t" "$p" && note "file $name" "link $a" || fail "link $name" ;;
  rm) rm -f "$p" || fail "remove $name" ;;
  note) note "$name" "$a" ;;
  reload) systemctl daemon-reload </dev/null || fail "systemctl daemon-reload" ;;
  end) whole=yes ;;
  esac
done
[ "$whole" ] || fail "the connection broke"
`

// write brings packages, users, directories and files of one server in place
// and notes what is due after that; units are settled later.
func (c *Context) write(ctx context.Context, p *Part, d *delta) error {
	var head bytes.Buffer
	line := func(fields ...string) { head.WriteString(strings.Join(fields, "\t") + "\n") }
	line("part", p.Name)
	var packages []string
	for _, ch := range d.changes {
		if ch.Kind == KindPackage {
			packages = append(packages, ch.Name)
		}
	}
	if len(packages) > 0 {
		line("packages", strings.Join(packages, " "))
	}
	for _, u := range d.want.Users {
		if d.has(KindUser, u.Name) {
			home := u.Home
			if home == "" {
				home = "/nonexistent"
			}
			line("user", u.Name, home, strings.Join(u.Groups, ","))
		}
	}
	for _, dir := range d.want.Dirs {
		if d.has(KindDir, dir.Path) {
			line("dir", dir.Path, orRoot(dir.Owner), orRoot(dir.Group), octal(dir.Mode))
		}
	}
	for _, ch := range d.changes {
		if slices.Contains([]string{KindCommand, KindRestart, KindReload}, ch.Kind) {
			line("due", ch.Kind, ch.Name)
		}
	}
	in := append([]io.Reader{&head}, d.payload()...)
	if _, err := c.Run(ctx, d.server, applyScript, io.MultiReader(in...)); err != nil {
		return fmt.Errorf("part %s: %w", p.Name, err)
	}
	return nil
}

// payload are the lines and bytes of the files, and what ends the script.
func (d *delta) payload() []io.Reader {
	var in []io.Reader
	reload := false
	for _, f := range d.files {
		reload = reload || strings.HasPrefix(f.Path, unitDir)
		if f.Link != "" {
			in = append(in, strings.NewReader(strings.Join([]string{"link", f.Path, f.Link}, "\t")+"\n"))
			continue
		}
		put := fmt.Sprintf("put\t%s\t%s\t%s\t%s\t%s\t%d\n", f.Path, orRoot(f.Owner), orRoot(f.Group), octal(f.Mode), f.sum(), len(f.Content))
		in = append(in, strings.NewReader(put), bytes.NewReader(f.Content))
	}
	var tail bytes.Buffer
	for _, ch := range d.changes {
		if ch.Kind == KindRemove {
			tail.WriteString("rm\t" + ch.Name + "\n")
			reload = reload || strings.HasPrefix(ch.Name, unitDir)
		}
	}
	for _, st := range d.have.units {
		reload = reload || st.needsReload
	}
	if reload {
		tail.WriteString("reload\n")
	}
	tail.WriteString("end\n")
	return append(in, &tail)
}

// finish notes that everything that was due on a server of the part is done.
func (c *Context) finish(ctx context.Context, p *Part, d *delta) error {
	var notes bytes.Buffer
	for k, v := range d.records {
		fmt.Fprintf(&notes, "%s\t%s\n", k, v)
	}
	if notes.Len() == 0 && len(d.changes) == 0 {
		return nil
	}
	// The newest note of each thing is kept.
	const script = `set -eu; umask 077; export LC_ALL=C; cd "${HASTACK_DEPLOY_ROOT:-}` + stateDir + `" 2>/dev/null || { mkdir -p "${HASTACK_DEPLOY_ROOT:-}` + stateDir + `"; cd "${HASTACK_DEPLOY_ROOT:-}` + stateDir + `"; }
cat "%[1]s.records" - 2>/dev/null | awk -F '\t' 'NF == 2 { v[$1] = $2 } END { for (k in v) print k "\t" v[k] }' | sort > "%[1]s.new"
sync "%[1]s.new"; mv "%[1]s.new" "%[1]s.records"; rm -f "%[1]s.pending"`
	if _, err := c.Run(ctx, d.server, fmt.Sprintf(script, p.Name), &notes); err != nil {
		return fmt.Errorf("part %s: note what was done: %w", p.Name, err)
	}
	return nil
}
