package db_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
)

// The contract of a database: it runs on SQLite, and on MariaDB when
// HASTACK_TEST_MYSQL is set.

type thing struct {
	ID      string `bun:"id,pk"`
	Name    string
	State   string
	Count   int64
	Flag    bool
	Note    *string
	MadeAt  time.Time
	GoneAt  *time.Time
	Blob    []byte
	Decoded map[string]string `bun:"decoded"`
}

func schema(extra ...string) fs.FS {
	m := fstest.MapFS{"migrations/0001_things.sql": {Data: []byte(`-- +goose Up
CREATE TABLE things (
  id VARCHAR(36) NOT NULL,
  name VARCHAR(255) NOT NULL,
  state VARCHAR(32) NOT NULL,
  count BIGINT NOT NULL,
  flag BOOLEAN NOT NULL,
  note VARCHAR(255) NULL,
  made_at DATETIME(6) NOT NULL,
  gone_at DATETIME(6) NULL,
  ` + "`blob`" + ` BLOB NULL,
  decoded TEXT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX things_name ON things (name);
CREATE TABLE parts (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  thing_id VARCHAR(36) NOT NULL,
  CONSTRAINT parts_thing FOREIGN KEY (thing_id) REFERENCES things (id)
);
-- +goose Down
DROP TABLE parts;
DROP TABLE things;
`)}}
	for i, sql := range extra {
		m[fmt.Sprintf("migrations/000%d_extra.sql", i+2)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql)}
	}
	return m
}

var stamp = time.Date(2026, 2, 3, 4, 5, 6, 700000000, time.UTC)

func insert(t *testing.T, d bun.IDB, th *thing) {
	t.Helper()
	if th.MadeAt.IsZero() {
		th.MadeAt = stamp
	}
	if _, err := d.NewInsert().Model(th).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, d *db.DB, where string, args ...any) int {
	t.Helper()
	n, err := d.NewSelect().Table("things").Where(where, args...).Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestValuesComeBackEqual(t *testing.T) {
	d := dbtest.New(t, schema())
	gone := stamp.Add(1234567 * time.Microsecond)
	note := "quote ' backslash \\ percent % question ? emoji 🙂 ünïcode"
	in := thing{ID: "1", Name: note, State: "s", Count: 1 << 60, Flag: true, Note: &note, MadeAt: stamp,
		GoneAt: &gone, Blob: []byte{0, 1, 255, '\''}, Decoded: map[string]string{"k": note}}
	insert(t, d, &in)
	insert(t, d, &thing{ID: "2", Name: "n", MadeAt: stamp.In(time.FixedZone("x", 7200))})
	var out, second thing
	if err := d.NewSelect().Model(&out).Where("id = ?", "1").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out.MadeAt != in.MadeAt || *out.GoneAt != gone {
		t.Errorf("times differ: %#v, want %#v", out.MadeAt, in.MadeAt)
	}
	if out.Name != note || *out.Note != note || out.Count != in.Count || !out.Flag ||
		string(out.Blob) != string(in.Blob) || out.Decoded["k"] != note {
		t.Errorf("got %+v, want %+v", out, in)
	}
	if err := d.NewSelect().Model(&second).Where("id = ?", "2").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second.MadeAt != stamp || second.Note != nil || second.GoneAt != nil || second.Decoded != nil {
		t.Errorf("got %+v, want NULLs and %v", second, stamp)
	}
}

func TestTimesCompareInSQL(t *testing.T) {
	d := dbtest.New(t, schema())
	for i, at := range []time.Duration{0, time.Microsecond, 100 * time.Millisecond, time.Second, 10 * time.Second} {
		insert(t, d, &thing{ID: fmt.Sprint(i), Name: fmt.Sprint(i), MadeAt: stamp.Truncate(time.Second).Add(at)})
	}
	if n := count(t, d, "made_at <= ?", stamp.Truncate(time.Second).Add(100*time.Millisecond)); n != 3 {
		t.Errorf("%d rows up to the third time, want 3", n)
	}
	if n := count(t, d, "made_at > ?", stamp.Truncate(time.Second)); n != 4 {
		t.Errorf("%d rows after the first time, want 4", n)
	}
}

func TestTextComparesByBytes(t *testing.T) {
	d := dbtest.New(t, schema())
	insert(t, d, &thing{ID: "1", Name: "Web"})
	insert(t, d, &thing{ID: "2", Name: "web"})
	insert(t, d, &thing{ID: "3", Name: "web "})
	insert(t, d, &thing{ID: "4", Name: "wéb"})
	if n := count(t, d, "name = ?", "web"); n != 1 {
		t.Errorf("name = 'web' finds %d rows, want 1", n)
	}
}

func TestDuplicatesAndMissingRowsAreRecognised(t *testing.T) {
	d := dbtest.New(t, schema())
	insert(t, d, &thing{ID: "1", Name: "a"})
	for _, th := range []*thing{{ID: "1", Name: "b", MadeAt: stamp}, {ID: "2", Name: "a", MadeAt: stamp}} {
		_, err := d.NewInsert().Model(th).Exec(t.Context())
		if !db.IsDuplicate(err) || db.IsForeignKey(err) {
			t.Errorf("insert %s/%s: %v, want a duplicate", th.ID, th.Name, err)
		}
	}
	err := d.NewSelect().Model(new(thing)).Where("id = ?", "x").Scan(t.Context())
	if !db.IsNoRows(err) {
		t.Errorf("select: %v, want no rows", err)
	}
	_, err = d.ExecContext(t.Context(), "INSERT INTO parts (id, thing_id) VALUES ('p', 'none')")
	if !db.IsForeignKey(err) || db.IsDuplicate(err) {
		t.Errorf("orphan: %v, want a foreign key error", err)
	}
	// A duplicate leaves its transaction usable.
	err = d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&thing{ID: "1", Name: "c", MadeAt: stamp}).Exec(ctx); !db.IsDuplicate(err) {
			return fmt.Errorf("want a duplicate, got %w", err)
		}
		_, err := tx.NewInsert().Model(&thing{ID: "5", Name: "five", MadeAt: stamp}).Exec(ctx)
		return err
	})
	if err != nil || count(t, d, "id = '5'") != 1 {
		t.Errorf("after a duplicate: %v", err)
	}
}

func TestUpdateToAnEqualValueCounts(t *testing.T) {
	d := dbtest.New(t, schema())
	insert(t, d, &thing{ID: "1", Name: "a", State: "same"})
	res, err := d.NewUpdate().Table("things").Set("state = ?", "same").Where("id = ?", "1").Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := res.RowsAffected(); n != 1 {
		t.Errorf("%d rows affected, want 1", n)
	}
}

func TestCompareAndSetHasOneWinner(t *testing.T) {
	d := dbtest.New(t, schema())
	const rounds, racers = 20, 8
	for r := range rounds {
		id := fmt.Sprint(r)
		insert(t, d, &thing{ID: id, Name: id, State: "free"})
		var wg sync.WaitGroup
		var mu sync.Mutex
		winners := 0
		for i := range racers {
			wg.Go(func() {
				res, err := d.NewUpdate().Table("things").Set("state = ?", fmt.Sprint(i)).
					Where("id = ? AND state = 'free'", id).Exec(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if n, _ := res.RowsAffected(); n == 1 {
					mu.Lock()
					winners++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if winners != 1 {
			t.Fatalf("round %d: %d winners", r, winners)
		}
	}
}

func TestNoIncrementIsLost(t *testing.T) {
	d := dbtest.New(t, schema())
	insert(t, d, &thing{ID: "1", Name: "a"})
	insert(t, d, &thing{ID: "2", Name: "b"})
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for w := range workers {
		first, second := "1", "2"
		if w%2 == 1 { // the other order: on MariaDB these deadlock, and are repeated
			first, second = second, first
		}
		wg.Go(func() {
			for range each {
				err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
					for _, id := range []string{first, second} {
						if _, err := tx.NewUpdate().Table("things").Set("count = count + 1").Where("id = ?", id).Exec(ctx); err != nil {
							return fmt.Errorf("increment %s: %w", id, err)
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, d, "count = ?", workers*each); n != 2 {
		t.Errorf("%d of 2 counters are right", n)
	}
}

func TestWhoHoldsARowCountsAlone(t *testing.T) {
	d := dbtest.New(t, schema())
	insert(t, d, &thing{ID: "1", Name: "a"})
	const limit = 3
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
				if n, err := db.Hold(ctx, tx, "things", "id = ?", "1"); n != 1 || err != nil {
					return fmt.Errorf("%d rows held: %w", n, err)
				}
				n, err := tx.NewSelect().Table("parts").Where("thing_id = '1'").Count(ctx)
				if err != nil || n >= limit {
					return err
				}
				_, err = tx.NewRaw("INSERT INTO parts (id, thing_id) VALUES (?, '1')", fmt.Sprint(w)).Exec(ctx)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, err := d.NewSelect().Table("parts").Count(t.Context()); n != limit || err != nil {
		t.Errorf("%d parts of at most %d, %v", n, limit, err)
	}
	err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		if n, err := db.Hold(ctx, tx, "things", "id = ?", "2"); n != 0 || err != nil {
			t.Errorf("%d rows held where there are none, %v", n, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNothingRemainsOfAFailedTransaction(t *testing.T) {
	d := dbtest.New(t, schema())
	boom := errors.New("boom")
	write := func(ctx context.Context, tx bun.Tx) {
		if _, err := tx.NewInsert().Model(&thing{ID: "1", Name: "a", MadeAt: stamp}).Exec(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error { write(ctx, tx); return boom }); !errors.Is(err, boom) {
		t.Errorf("error: %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error { write(ctx, tx); panic("boom") })
	}()
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Tx(ctx, func(ctx context.Context, tx bun.Tx) error { write(ctx, tx); cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if n := count(t, d, "1 = 1"); n != 0 {
		t.Errorf("%d rows remain", n)
	}
	// The handle is as good as new: no writer's turn was lost.
	insert(t, d, &thing{ID: "2", Name: "b"})
}

func TestReadersDoNotWaitForAWriter(t *testing.T) {
	d := dbtest.New(t, schema())
	insert(t, d, &thing{ID: "1", Name: "a", State: "before"})
	err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewUpdate().Table("things").Set("state = 'after'").Where("id = '1'").Exec(ctx); err != nil {
			return err
		}
		done := make(chan int, 1)
		go func() { done <- count(t, d, "state = 'before'") }()
		select {
		case n := <-done:
			if n != 1 {
				t.Errorf("a reader sees what is not committed")
			}
		case <-time.After(5 * time.Second):
			t.Error("a reader waits for the writer")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWritesAroundTheTransactionAreRefused(t *testing.T) {
	d := dbtest.New(t, schema())
	err := d.Tx(t.Context(), func(ctx context.Context, _ bun.Tx) error {
		if err := d.Tx(ctx, func(context.Context, bun.Tx) error { return nil }); err == nil {
			t.Error("a nested transaction was accepted")
		}
		_, err := d.NewInsert().Model(&thing{ID: "1", Name: "a", MadeAt: stamp}).Exec(ctx)
		return err
	})
	if err == nil || count(t, d, "1 = 1") != 0 {
		t.Errorf("a write around the transaction: %v", err)
	}
}

func TestStatsCountStatementsAndCommits(t *testing.T) {
	d := dbtest.New(t, schema())
	before := d.Stats()
	insert(t, d, &thing{ID: "1", Name: "a"})
	_ = count(t, d, "1 = 1")
	_ = d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		for _, s := range []string{"x", "y"} {
			if _, err := tx.NewUpdate().Table("things").Set("state = ?", s).Where("id = '1'").Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	after := d.Stats()
	if s, c := after.Statements-before.Statements, after.Commits-before.Commits; s != 4 || c != 2 {
		t.Errorf("%d statements and %d commits, want 4 and 2", s, c)
	}
}

func TestMigrationsRunOnceWhoeverComesFirst(t *testing.T) {
	url := dbtest.URL(t)
	var wg sync.WaitGroup
	for range 4 {
		d := dbtest.Open(t, db.Config{URL: url})
		wg.Go(func() {
			if err := d.Migrate(t.Context(), schema()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d := dbtest.Open(t, db.Config{URL: url})
	insert(t, d, &thing{ID: "1", Name: "a"})
	// A later release, and a package's own table with a high number.
	own := fstest.MapFS{"9001_own.sql": {Data: []byte("-- +goose Up\nCREATE TABLE own (id VARCHAR(36) NOT NULL PRIMARY KEY);")}}
	if err := d.Migrate(t.Context(), schema(), own); err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(t.Context(), schema("ALTER TABLE things ADD COLUMN more VARCHAR(10) NULL;"), own); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "more IS NULL"); n != 1 {
		t.Errorf("%d rows after the migration, want 1", n)
	}
	if err := d.Migrate(t.Context(), schema(), fstest.MapFS{"0001_again.sql": {}}); err == nil {
		t.Error("two migrations with one number were accepted")
	}
}

// A migration that was interrupted anywhere is finished by the next run.
func TestMigrationGoesOnWhereItWasInterrupted(t *testing.T) {
	whole := []string{"CREATE TABLE own (id VARCHAR(36) NOT NULL PRIMARY KEY);", "INSERT INTO own (id) VALUES ('1');",
		"CREATE INDEX own_id ON own (id);", "ALTER TABLE things ADD COLUMN own VARCHAR(36) NULL;", "CREATE UNIQUE INDEX things_own ON things (own);"}
	for n := range whole {
		d := dbtest.New(t, schema())
		half := strings.Join(whole[:n+1], "\n") + "\nSELECT there_is_no_such_column FROM things;"
		if err := d.Migrate(t.Context(), schema(half)); err == nil {
			t.Fatal("the interrupted migration passes")
		}
		if err := d.Migrate(t.Context(), schema(strings.Join(whole, "\n"))); err != nil {
			t.Fatalf("after %d statements: %v", n+1, err)
		}
		insert(t, d, &thing{ID: "1", Name: "a"})
		if n := count(t, d, "own IS NULL"); n != 1 {
			t.Errorf("%d rows after the migration, want 1", n)
		}
	}
}

const childEnv = "HASTACK_DB_TEST_CHILD"

// TestCommittedRowsSurviveKill kills a writer that reports each commit the
// moment Tx returned, and looks for every row it reported.
func TestCommittedRowsSurviveKill(t *testing.T) {
	if url := os.Getenv(childEnv); url != "" {
		writeForEver(t, url)
		return
	}
	url := dbtest.URL(t)
	d := dbtest.Open(t, db.Config{URL: url}, schema())
	cmd := exec.Command(os.Args[0], "-test.run=^TestCommittedRowsSurviveKill$")
	cmd.Env = append(os.Environ(), childEnv+"="+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	for sc := bufio.NewScanner(out); len(acknowledged) < 50 && sc.Scan(); {
		if id, ok := strings.CutPrefix(sc.Text(), "committed "); ok {
			acknowledged = append(acknowledged, id)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(acknowledged) < 50 {
		t.Fatalf("the child wrote %d rows", len(acknowledged))
	}
	for _, id := range acknowledged {
		if count(t, d, "id = ?", id) != 1 {
			t.Errorf("row %s was acknowledged and is lost", id)
		}
	}
	insert(t, d, &thing{ID: "next", Name: "next"}) // and its lock died with it
}

func writeForEver(t *testing.T, url string) {
	d, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 { // some wait for each other, and share commits
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", w, i)
				err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
					_, err := tx.NewInsert().Model(&thing{ID: id, Name: id, MadeAt: stamp}).Exec(ctx)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = os.Stdout.WriteString("committed " + id + "\n")
			}
		})
	}
	wg.Wait()
}
