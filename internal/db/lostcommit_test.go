package db_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
)

// What becomes of the connection when a commit passes.
type fate int

const (
	passed    fate = iota // nothing happens
	unsent                // the commit does not reach the server
	unheard               // its answer does not reach the client
	late                  // the client is cut off; the commit arrives half a second later
	hanging               // the client is cut off; the server notices half a second later
	fateCount = iota
)

// A commitProxy stands before the database and lets the next commit meet its
// fate.
type commitProxy struct {
	target string
	mu     sync.Mutex
	next   fate
}

func newCommitProxy(t *testing.T, target string) (*commitProxy, string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &commitProxy{target: u.Host}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	u.Host = l.Addr().String()
	return p, u.String()
}

func (p *commitProxy) arm(f fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = f
}

func (p *commitProxy) take() fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.next
	p.next = passed
	return f
}

func (p *commitProxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
	defer func() { _ = client.Close(); _ = server.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(buf[:n], []byte("COMMIT")) {
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
			continue
		}
		switch p.take() {
		case unsent:
			return
		case unheard:
			_ = client.(*net.TCPConn).SetLinger(0)
			_ = client.Close()
			_, _ = server.Write(buf[:n])
			time.Sleep(100 * time.Millisecond)
			return
		case late:
			_ = client.Close()
			time.Sleep(500 * time.Millisecond)
			_, _ = server.Write(buf[:n])
			time.Sleep(100 * time.Millisecond)
			return
		case hanging:
			_ = client.Close()
			time.Sleep(500 * time.Millisecond)
			return
		default:
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// Whatever happens to a commit, the transaction is done once when Tx returns
// nil, and Tx returns nil.
func TestLostCommitIsNeitherLostNorDoubled(t *testing.T) {
	if !dbtest.MySQL() {
		t.Skip("SQLite has no connection to lose; set " + dbtest.Env)
	}
	target := dbtest.URL(t)
	direct := dbtest.Open(t, db.Config{URL: target}, schema())
	p, through := newCommitProxy(t, target)
	d := dbtest.Open(t, db.Config{URL: through})
	insert(t, direct, &thing{ID: "n", Name: "counter"})
	want := 0
	for f := range fate(fateCount) {
		for range 3 {
			want++
			p.arm(f)
			err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
				_, err := tx.NewUpdate().Table("things").Set("count = count + 1").Where("id = 'n'").Exec(ctx)
				return err
			})
			if err != nil || count(t, direct, "count = "+itoa(want)) != 1 {
				t.Fatalf("transaction %d, fate %d: %v", want, f, err)
			}
			want++
			p.arm(f)
			res, err := d.NewUpdate().Table("things").Set("count = count + 1").Where("id = 'n'").Exec(t.Context())
			if err != nil || count(t, direct, "count = "+itoa(want)) != 1 {
				t.Fatalf("statement %d, fate %d: %v", want, f, err)
			}
			if n, err := res.RowsAffected(); err != nil || n != 1 {
				t.Fatalf("statement %d, fate %d: %d rows, %v", want, f, n, err)
			}
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// A read meets a connection that died in the pool, or dies under it, and the
// caller sees nothing of it.
func TestReadsOutliveTheirConnection(t *testing.T) {
	if !dbtest.MySQL() {
		t.Skip("SQLite has no connection to lose; set " + dbtest.Env)
	}
	d := dbtest.New(t, schema())
	insert(t, d, &thing{ID: "1", Name: "a"})
	for range 20 {
		var ids []int64
		if err := d.NewRaw("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()").Scan(t.Context(), &ids); err != nil {
			t.Fatal(err)
		}
		var own int64
		if err := d.NewRaw("SELECT CONNECTION_ID()").Scan(t.Context(), &own); err != nil {
			t.Fatal(err)
		}
		for _, id := range append(ids, own) {
			_, _ = d.ExecContext(t.Context(), "KILL "+itoa(int(id))) // it may be the one that asks
		}
		if n := count(t, d, "name = 'a'"); n != 1 {
			t.Fatal(n)
		}
	}
}
