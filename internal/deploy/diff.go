package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/topology"
)

const unitDir = "/etc/systemd/system/"

// allFiles are the part's files with those of its units.
func (w *Want) allFiles() []File {
	files := slices.Clone(w.Files)
	for _, u := range w.Units {
		if u.Content == "" {
			continue
		}
		f := File{Path: unitDir + u.Name, Mode: 0o644, Content: []byte(u.Content)}
		if u.Running || u.Elsewhere {
			f.Restart = []string{u.Name}
		}
		files = append(files, f)
	}
	return files
}

// unitNames are the part's units and those that its files restart or reload.
func (w *Want) unitNames() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, u := range w.Units {
		add(u.Name)
	}
	for _, f := range w.Files {
		for _, name := range slices.Concat(f.Restart, f.Reload) {
			add(name)
		}
	}
	return names
}

func (w *Want) unit(name string) *Unit {
	for i := range w.Units {
		if w.Units[i].Name == name {
			return &w.Units[i]
		}
	}
	return nil
}

// a delta is what differs on one server: the changes, and the wanted things
// that they are of.
type delta struct {
	server  *topology.Server
	want    *Want
	have    *have
	changes []Change
	files   []File // to write
	// records are to be noted although nothing changes: a deploy was killed
	// between a write and its note.
	records map[string]string
}

func (d *delta) add(part, kind, name, detail string, drift bool) {
	d.changes = append(d.changes, Change{Server: d.server.Name, Part: part, Kind: kind, Name: name, Detail: detail, Drift: drift})
}

func (d *delta) has(kind, name string) bool {
	return slices.ContainsFunc(d.changes, func(c Change) bool { return c.Kind == kind && c.Name == name })
}

// diff compares. It is a pure function.
func diff(part string, s *topology.Server, w *Want, h *have) *delta {
	d := &delta{server: s, want: w, have: h, records: map[string]string{}}
	for _, name := range w.Packages {
		if !h.packages[name] {
			d.add(part, KindPackage, name, "install", false)
		}
	}
	d.users(part)
	for _, dir := range w.Dirs {
		d.directory(part, dir)
	}
	for _, f := range w.allFiles() {
		d.file(part, f)
	}
	for _, path := range w.Absent {
		if _, there := h.paths[path]; there {
			d.add(part, KindRemove, path, "", false)
		}
	}
	d.due(part)
	for _, u := range w.Units {
		d.unit(part, u)
	}
	return d
}

func (d *delta) users(part string) {
	for _, u := range d.want.Users {
		groups, there := d.have.users[u.Name]
		if !there {
			d.add(part, KindUser, u.Name, "add", false)
			continue
		}
		for _, g := range u.Groups {
			if !slices.Contains(groups, g) {
				d.add(part, KindUser, u.Name, "add to group "+g, false)
			}
		}
	}
}

func (d *delta) directory(part string, dir Directory) {
	at, there := d.have.paths[dir.Path]
	recorded := d.have.records["dir "+dir.Path] != ""
	switch {
	case !there:
		d.add(part, KindDir, dir.Path, "make", recorded)
	case at.kind != "dir":
		d.add(part, KindDir, dir.Path, "is a "+at.kind, recorded)
	case at.describes(dir.Mode, dir.Owner, dir.Group) != "":
		d.add(part, KindDir, dir.Path, at.describes(dir.Mode, dir.Owner, dir.Group), recorded)
	case !recorded:
		d.records["dir "+dir.Path] = "made"
	}
}

// describes says what of mode and owner differs, "" if nothing does.
func (f found) describes(mode os.FileMode, owner, group string) string {
	var out []string
	if m := octal(mode); f.mode != m {
		out = append(out, "mode "+f.mode+" → "+m)
	}
	if o := orRoot(owner) + ":" + orRoot(group); f.owner+":"+f.group != o {
		out = append(out, "owner "+f.owner+":"+f.group+" → "+o)
	}
	return strings.Join(out, ", ")
}

func (d *delta) file(part string, f File) {
	at, there := d.have.paths[f.Path]
	record, want := d.have.records["file "+f.Path], f.sum()
	detail, drift := "", false
	switch {
	case !there:
		detail, drift = "new", record != ""
		if drift {
			detail = "was removed"
		}
	case f.Link != "":
		if at.target == f.Link {
			break
		}
		detail, drift = "→ "+f.Link, record != "" && record != "link "+at.target
	case at.kind != "file":
		detail, drift = "is a "+at.kind, record != ""
	case at.sum != want:
		// What is there is what deploy wrote last, or what a deploy that was
		// killed wrote before it could note it; anything else is drift.
		detail, drift = "changed", record != "" && record != at.sum
		if drift {
			detail = "was changed on the server"
		}
	default:
		detail = at.describes(f.Mode, f.Owner, f.Group)
		drift = detail != "" && record == want
	}
	if detail == "" {
		if record != want {
			d.records["file "+f.Path] = want
		}
		return
	}
	d.add(part, KindFile, f.Path, detail, drift)
	d.files = append(d.files, f)
}

// due adds what follows from the files, and what an earlier deploy left due.
func (d *delta) due(part string) {
	restart := func(kind, name string) {
		st := d.have.units[name]
		// A unit that does not run reads its new files when it starts.
		if st.active && !d.has(KindRestart, name) && !d.has(kind, name) {
			d.add(part, kind, name, "", false)
		}
	}
	var reloads []string
	for _, f := range d.files {
		for _, cmd := range f.Then {
			if !d.has(KindCommand, cmd) {
				d.add(part, KindCommand, cmd, "", false)
			}
		}
		for _, name := range f.Restart {
			restart(KindRestart, name)
		}
		reloads = append(reloads, f.Reload...)
	}
	for _, a := range d.have.pending {
		switch {
		case a.kind == KindCommand && !d.has(a.kind, a.name):
			d.add(part, a.kind, a.name, "left by an interrupted deploy", false)
		case a.kind == KindRestart:
			restart(KindRestart, a.name)
		case a.kind == KindReload:
			reloads = append(reloads, a.name)
		}
	}
	for _, name := range reloads {
		restart(KindReload, name)
	}
}

func (d *delta) unit(part string, u Unit) {
	st := d.have.units[u.Name]
	recorded := d.have.records["unit "+u.Name] != ""
	if u.Enabled && !slices.Contains([]string{"enabled", "static", "indirect", "generated", "alias"}, st.file) {
		d.add(part, KindEnable, u.Name, "", recorded)
	}
	if !u.Enabled && st.file == "enabled" {
		d.add(part, KindDisable, u.Name, "", recorded)
	}
	switch {
	case u.Elsewhere:
	case u.Running && !st.active:
		detail := ""
		if recorded {
			detail = "is " + st.state
		}
		d.add(part, KindStart, u.Name, detail, recorded)
	case !u.Running && st.active:
		d.add(part, KindStop, u.Name, "", recorded)
	}
	if !recorded {
		d.records["unit "+u.Name] = "up"
	}
}

// sum is what is noted of a file that was written.
func (f *File) sum() string {
	if f.Link != "" {
		return "link " + f.Link
	}
	if f.Sum != "" {
		return f.Sum
	}
	h := sha256.Sum256(f.Content)
	return hex.EncodeToString(h[:])
}

func octal(m os.FileMode) string {
	n := uint64(m.Perm())
	if m&os.ModeSetuid != 0 {
		n |= 0o4000
	}
	if m&os.ModeSetgid != 0 {
		n |= 0o2000
	}
	if m&os.ModeSticky != 0 {
		n |= 0o1000
	}
	return strconv.FormatUint(n, 8)
}

func orRoot(name string) string {
	if name == "" {
		return "root"
	}
	return name
}

// check refuses a Want that cannot be carried out as it is written.
func (w *Want) check(part string) error {
	for _, f := range w.allFiles() {
		if strings.ContainsAny(f.Path, "\t\n") || !strings.HasPrefix(f.Path, "/") || f.Link == "" && f.Mode == 0 {
			return fmt.Errorf("part %s: file %q needs an absolute path and a mode", part, f.Path)
		}
		for _, cmd := range f.Then {
			if strings.ContainsAny(cmd, "\t\n") {
				return fmt.Errorf("part %s: command %q must be one line", part, cmd)
			}
		}
	}
	for _, d := range w.Dirs {
		if !strings.HasPrefix(d.Path, "/") || d.Mode == 0 {
			return fmt.Errorf("part %s: directory %q needs an absolute path and a mode", part, d.Path)
		}
	}
	return nil
}
