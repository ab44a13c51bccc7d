package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// memcachedCollector asks the cache for its statistics.
type memcachedCollector struct{ address string }

func (memcachedCollector) Name() string         { return "memcached" }
func (memcachedCollector) Every() time.Duration { return 5 * time.Second }

// Collect asks in the text protocol.
func (c memcachedCollector) Collect(ctx context.Context) (Facts, error) {
	m := &Memcached{}
	facts := func(s *State) { s.Memcached = m }
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return facts, fmt.Errorf("ask memcached: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return facts, err
	}
	if _, err := io.WriteString(conn, "stats\r\nquit\r\n"); err != nil {
		return facts, fmt.Errorf("ask memcached: %w", err)
	}
	values := map[string]int64{}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == "STAT" {
			values[f[1]], _ = strconv.ParseInt(f[2], 10, 64)
		} else if len(f) == 1 && f[0] == "END" {
			m.Answers = true
		}
	}
	if err := lines.Err(); err != nil && !m.Answers {
		return facts, fmt.Errorf("ask memcached: %w", err)
	}
	m.Items, m.Bytes, m.LimitBytes = values["curr_items"], values["bytes"], values["limit_maxbytes"]
	m.Evictions, m.Connections = values["evictions"], values["curr_connections"]
	return facts, nil
}
