package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
)

// sessionInit makes every connection behave alike, whatever the server's
// defaults. READ COMMITTED takes fewer gap locks, thus fewer deadlocks, and
// costs nothing where state changes are compare-and-set.
var sessionInit = []string{
	"SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO', time_zone='+00:00'",
	"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
}

type mysqlDialect struct{ *mysqldialect.Dialect }

func (mysqlDialect) AppendTime(b []byte, t time.Time) []byte { return appendTime(b, t) }

func openMySQL(ctx context.Context, cfg Config, log *slog.Logger) (*DB, error) {
	mc, err := mysqlConfig(cfg.URL)
	if err != nil {
		return nil, err
	}
	mc.Logger, mc.TLS = driverLog{log}, cfg.TLS
	base, err := mysql.NewConnector(mc)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	c := &core{}
	pool := sql.OpenDB(&connector{Connector: base, core: c, init: sessionInit})
	pool.SetMaxOpenConns(32)
	pool.SetMaxIdleConns(32)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	pool.SetConnMaxLifetime(30 * time.Minute) // lets a new writer node get its share
	if err := checkDurable(ctx, pool); err != nil {
		_ = pool.Close()
		return nil, fmt.Errorf("open database %s on %s: %w", mc.DBName, mc.Addr, err)
	}
	all := bun.NewDB(pool, mysqlDialect{mysqldialect.New()})
	return &DB{DB: all, writing: all, core: c, log: log}, nil
}

// mysqlConfig reads mysql://user:password@host:port/name.
func mysqlConfig(raw string) (*mysql.Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("database url: cannot be parsed") // the error would show the password
	}
	name := strings.TrimPrefix(u.Path, "/")
	if u.Hostname() == "" || u.User == nil || name == "" || strings.Contains(name, "/") {
		return nil, errors.New("database url: want mysql://user:password@host:port/name")
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	mc := mysql.NewConfig()
	mc.User = u.User.Username()
	mc.Passwd, _ = u.User.Password()
	mc.Net, mc.Addr, mc.DBName = "tcp", net.JoinHostPort(u.Hostname(), port), name
	if sock := u.Query().Get("socket"); sock != "" {
		mc.Net, mc.Addr = "unix", sock
	}
	mc.ClientFoundRows = true // an update to an equal value counts as found
	mc.ParseTime, mc.Loc = true, time.UTC
	mc.InterpolateParams = true // one round trip instead of three
	mc.Timeout = 5 * time.Second
	mc.ReadTimeout = 30 * time.Second // a Galera that lost a node stalls for seconds, then goes on
	mc.WriteTimeout = 30 * time.Second
	if err := mc.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, err
	}
	return mc, nil
}

// checkDurable refuses a server that acknowledges what it has not written.
func checkDurable(ctx context.Context, pool *sql.DB) error {
	var flush int
	err := pool.QueryRowContext(ctx, "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit").Scan(&flush)
	if err != nil {
		return err
	}
	if flush != 1 {
		return fmt.Errorf("the server runs with innodb_flush_log_at_trx_commit=%d and would lose acknowledged writes: set it to 1", flush)
	}
	return nil
}

// driverLog takes what the driver has to say (a connection that the server
// closed) to the debug log: whatever matters is returned as an error too.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(v ...any) { l.log.Debug("mysql driver", "text", fmt.Sprint(v...)) }
