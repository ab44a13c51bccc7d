package node

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/go-sql-driver/mysql"
)

// statusDB is where the status of the database on this server is read.
type statusDB struct{ *sql.DB }

func openStatus(cfg *GaleraConfig) (*statusDB, error) {
	mc := mysql.NewConfig()
	mc.Net, mc.Addr, mc.User, mc.Passwd = "unix", cfg.Socket, cfg.User, cfg.Password.Reveal()
	// The asker's own deadline comes first, so that late and dead can be told apart.
	mc.Timeout, mc.ReadTimeout, mc.WriteTimeout = 4*galeraAnswers, 4*galeraAnswers, 4*galeraAnswers
	mc.Logger = silent{}
	connector, err := mysql.NewConnector(mc)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	// One connection, kept: a server whose clients took all others still answers.
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(1)
	return &statusDB{pool}, nil
}

// silent is a logger for a driver whose errors are returned too.
type silent struct{}

func (silent) Print(...any) {}

// askDatabase reads the status. SHOW works without a quorum, SELECT does not.
func (g *galera) askDatabase(ctx context.Context) (Galera, error) {
	v := map[string]string{}
	for _, q := range []string{
		"SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready','wsrep_cluster_status','wsrep_local_state_comment','wsrep_cluster_size'," +
			"'wsrep_local_recv_queue','wsrep_local_send_queue','wsrep_flow_control_paused_ns','wsrep_cluster_state_uuid','wsrep_local_state_uuid'," +
			"'wsrep_last_committed','Threads_connected','wsrep_connected')",
		"SHOW GLOBAL VARIABLES WHERE Variable_name = 'innodb_flush_log_at_trx_commit'",
	} {
		if err := g.read(ctx, q, v); err != nil {
			return Galera{}, fmt.Errorf("the database does not answer: %w", err)
		}
	}
	number := func(name string) int { n, _ := strconv.Atoi(v[name]); return n }
	s := Galera{
		Ready: v["wsrep_ready"] == "ON", Primary: v["wsrep_cluster_status"] == "Primary", State: v["wsrep_local_state_comment"],
		Size: number("wsrep_cluster_size"), ReceiveQueue: number("wsrep_local_recv_queue"), SendQueue: number("wsrep_local_send_queue"),
		Cluster: v["wsrep_local_state_uuid"], Flush: number("innodb_flush_log_at_trx_commit"), Connections: number("Threads_connected"),
	}
	s.Committed, _ = strconv.ParseInt(v["wsrep_last_committed"], 10, 64)
	if v["wsrep_connected"] != "ON" {
		s.State = "Disconnected"
	}
	paused, _ := strconv.ParseInt(v["wsrep_flow_control_paused_ns"], 10, 64)
	now := g.clock.Now()
	if d := now.Sub(g.pausedSeen); d > 0 && paused >= g.paused && !g.pausedSeen.IsZero() {
		s.FlowControl = min(1, float64(paused-g.paused)/float64(d))
	}
	g.paused, g.pausedSeen = paused, now
	return s, nil
}

func (g *galera) read(ctx context.Context, query string, into map[string]string) error {
	rows, err := g.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		into[name] = value
	}
	return rows.Err()
}
