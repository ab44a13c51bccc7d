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
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
	"golang.org/x/sys/unix"
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
	if mc.Net == "tcp" {
		mc.DialFunc = dial
	}
	base, err := mysql.NewConnector(mc)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	c := &core{}
	from := &connector{Connector: base, core: c, log: log, init: sessionInit, marks: mc.DBName != "mysql"}
	pool := sql.OpenDB(from)
	pool.SetMaxOpenConns(32)
	pool.SetMaxIdleConns(32)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	pool.SetConnMaxLifetime(30 * time.Minute) // lets a new writer node get its share
	if err := ready(ctx, pool, from.marks); err != nil {
		_ = pool.Close()
		return nil, fmt.Errorf("open database %s on %s: %w", mc.DBName, mc.Addr, err)
	}
	all := bun.NewDB(pool, mysqlDialect{mysqldialect.New()})
	return &DB{DB: all, writing: all, core: c, log: log}, nil
}

// ready connects, and makes the table of commits if it is not there.
func ready(ctx context.Context, pool *sql.DB, marks bool) error {
	if err := pool.PingContext(ctx); err != nil || !marks {
		return err
	}
	// Looking first: making a table that is there stops a Galera for a moment.
	_, err := pool.ExecContext(ctx, "SELECT id FROM hastack_commits LIMIT 0")
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == myNoTable {
		_, err = pool.ExecContext(ctx, commitsTable)
	}
	return err
}

// How long a server may be silent. Behind a load balancer that vanished nobody
// says that the connection is gone: what was sent and not received within
// silence, or a probe on an idle connection, ends it.
const (
	connectTimeout = 5 * time.Second
	dialTimeout    = 2 * time.Second
	silence        = 3 * time.Second
)

// dial connects so that a dead peer is noticed in seconds.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3},
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			if cerr := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
			}); cerr != nil {
				return cerr
			}
			return err
		},
	}
	return d.DialContext(ctx, network, addr)
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
	mc.Timeout = dialTimeout
	mc.ReadTimeout = 30 * time.Second // a Galera that lost a node stalls for seconds, then goes on
	mc.WriteTimeout = 30 * time.Second
	if err := mc.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, err
	}
	return mc, nil
}

// driverLog takes what the driver has to say (a connection that the server
// closed) to the debug log: whatever matters is returned as an error too.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(v ...any) { l.log.Debug("mysql driver", "text", fmt.Sprint(v...)) }
