package node

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// databaseBackend is the name of the backend that database connections go to.
const databaseBackend = "database"

// haproxyCollector asks the load balancer over its statistics socket.
type haproxyCollector struct{ socket string }

func (haproxyCollector) Name() string         { return "haproxy" }
func (haproxyCollector) Every() time.Duration { return 2 * time.Second }

// Collect asks for backends and their servers.
func (c haproxyCollector) Collect(ctx context.Context) (Facts, error) {
	// 6 is backends (2) and servers (4).
	out, err := askSocket(ctx, c.socket, "show stat -1 6 -1\n")
	if err != nil {
		return nil, fmt.Errorf("ask haproxy: %w", err)
	}
	h, err := parseHAProxy(out)
	if err != nil {
		return nil, err
	}
	// A backend without servers answers by itself.
	h.Backends = slices.DeleteFunc(h.Backends, func(b Backend) bool { return len(b.Servers) == 0 })
	for i := range h.Backends {
		if h.Backends[i].Name == databaseBackend {
			h.Writer = c.writer(ctx, &h.Backends[i])
		}
	}
	return func(s *State) { s.HAProxy = h }, nil
}

// writer is the server of the database's backend that new connections go to:
// the one that the stick table keeps, while it is up; else the first healthy
// one that is no backup, else the first healthy backup.
func (c haproxyCollector) writer(ctx context.Context, b *Backend) string {
	if table, err := askSocket(ctx, c.socket, "show table "+b.Name+"\n"); err == nil {
		if kept := stickServer(table, b); kept != "" {
			return kept
		}
	}
	for _, backup := range []bool{false, true} {
		for i := range b.Servers {
			if b.Servers[i].up() && b.Servers[i].Backup == backup {
				return b.Servers[i].Name
			}
		}
	}
	return ""
}

// stickServer finds a healthy server of the backend in a dump of its table,
// whose lines end in "server_id=2 server_key=node02" or have the id alone.
func stickServer(table []byte, b *Backend) string {
	for line := range strings.Lines(string(table)) {
		for f := range strings.FieldsSeq(line) {
			id, ok := strings.CutPrefix(f, "server_id=")
			if !ok {
				continue
			}
			n, _ := strconv.Atoi(id)
			for i := range b.Servers {
				if b.Servers[i].id == n && b.Servers[i].up() {
					return b.Servers[i].Name
				}
			}
		}
	}
	return ""
}

// up tells whether new connections may go to the server. "UP 1/3" is going
// down and still takes them.
func (b *BackendServer) up() bool {
	return strings.HasPrefix(b.Status, "UP") || b.Status == "no check"
}

func parseHAProxy(out []byte) (*HAProxy, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(out, []byte("# "))))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	head, err := r.Read()
	if err != nil {
		return nil, errors.New("haproxy gave no statistics")
	}
	column := map[string]int{}
	for i, name := range head {
		column[name] = i
	}
	h := &HAProxy{}
	index := map[string]int{}
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return h, nil
		}
		if err != nil {
			return nil, fmt.Errorf("haproxy's statistics: %w", err)
		}
		field := func(name string) string {
			if i, ok := column[name]; ok && i < len(rec) {
				return rec[i]
			}
			return ""
		}
		number := func(name string) int64 { n, _ := strconv.ParseInt(field(name), 10, 64); return n }
		name := strings.Clone(field("pxname"))
		i, ok := index[name]
		if !ok {
			i = len(h.Backends)
			index[name] = i
			h.Backends = append(h.Backends, Backend{Name: name})
		}
		b := &h.Backends[i]
		if server := field("svname"); server != "BACKEND" {
			b.Servers = append(b.Servers, BackendServer{
				Name: strings.Clone(server), Status: strings.Clone(field("status")), Check: strings.Clone(field("check_status")),
				Backup: number("bck") > 0, Sessions: int(number("scur")), id: int(number("sid")),
			})
			continue
		}
		b.Up, b.Sessions, b.Queue = field("status") == "UP", int(number("scur")), int(number("qcur"))
		b.Errors, b.Requests, b.Failed = number("econ")+number("eresp"), number("req_tot"), number("hrsp_5xx")
		if b.Requests == 0 {
			b.Requests = number("stot") // TCP has no requests
		}
	}
}

// askSocket sends one line to a UNIX socket and reads all of the answer.
func askSocket(ctx context.Context, path, line string) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if t, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(t); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(conn, line); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(conn, 4<<20))
}
