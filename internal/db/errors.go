package db

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrOutcomeUnknown is returned by a Tx whose commit was sent and never
// answered. The change is there completely or not at all; the caller looks.
var ErrOutcomeUnknown = errors.New("the connection was lost during the commit, its outcome is unknown")

// IsDuplicate reports whether err is a violated unique or primary key.
func IsDuplicate(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
			return true
		}
		return false
	}
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && (e.Number == 1062 || e.Number == 1586)
}

// IsForeignKey reports whether err is a violated foreign key: a parent that
// does not exist, or one that still has children.
func IsForeignKey(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
	}
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && (e.Number == 1451 || e.Number == 1452)
}

// IsNoRows reports whether err says that a single row was asked for and there
// is none.
func IsNoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// IsUnavailable reports whether err means that the engine cannot be reached or
// does not serve at the moment, and not that the statement was wrong.
func IsUnavailable(err error) bool {
	return lostConnection(err) || retryable(err)
}

// Numbers of MySQL errors after which the same transaction may well succeed.
const (
	myLockTimeout    = 1205
	myDeadlock       = 1213 // also a Galera certification that was lost
	myChangedRead    = 1020 // innodb_snapshot_isolation of newer MariaDB
	myWsrepNotReady  = 1047
	myErrorInCommit  = 1180
	myServerGone     = 2006
	myServerLost     = 2013
	myShutdown       = 1053
	myKilled         = 1927
	myReadOnly       = 1290
	myReadOnlyTarget = 1836
	myTooManyConns   = 1040

	myUnknownVariable = 1193
	myNoTable         = 1146
)

func retryable(err error) bool {
	if errors.Is(err, ErrOutcomeUnknown) {
		return false
	}
	if errors.Is(err, errGroupLost) || errors.Is(err, errNotCommitted) {
		return true
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return true
		}
		return false
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch e.Number {
		case myLockTimeout, myDeadlock, myChangedRead, myErrorInCommit, myTooManyConns:
			return true
		}
		return otherNode(e)
	}
	return lostConnection(err)
}

// otherNode reports whether the server that answered is not one to talk to,
// while another, or the same a little later, may be.
func otherNode(e *mysql.MySQLError) bool {
	switch e.Number {
	case myWsrepNotReady, myServerGone, myServerLost, myShutdown, myKilled, myReadOnly, myReadOnlyTarget:
		return true
	}
	return false
}

func lostConnection(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return true
	}
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

// breaksTx reports whether the engine has ended the transaction in which err
// happened, so that a further statement would run, and commit, on its own.
func breaksTx(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY,
			sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_CORRUPT:
			return true
		}
		return false
	}
	return retryable(err)
}
