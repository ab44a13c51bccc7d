package audit

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/elect"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is what the auditors' database is made of.
func Schema() []fs.FS { return []fs.FS{migrations, elect.Migrations} }

// lastVerdict is the name of the one row.
const lastVerdict = "last"

type verdictRow struct {
	bun.BaseModel `bun:"table:verdicts"`
	Name          string `bun:"name,pk"`
	EndedAt       time.Time
	Leader        string
	Findings      string // JSON
	Unseen        string // JSON
}

// save keeps the verdict, if the term still holds.
func (t *Timer) save(ctx context.Context, term *elect.Term, v *Verdict) error {
	findings, err := json.Marshal(v.Findings)
	if err != nil {
		return err
	}
	unseen, err := json.Marshal(v.Unseen)
	if err != nil {
		return err
	}
	row := &verdictRow{Name: lastVerdict, EndedAt: v.At, Leader: v.Leader, Findings: string(findings), Unseen: string(unseen)}
	return t.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := term.CheckTx(ctx, tx); err != nil {
			return err
		}
		res, err := tx.NewUpdate().Model(row).WherePK().Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		_, err = tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
}

// Last is the last verdict, nil if there is none yet.
func (t *Timer) Last(ctx context.Context) (*Verdict, error) {
	row := &verdictRow{}
	err := t.DB.NewSelect().Model(row).Where("name = ?", lastVerdict).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit's verdict: %w", err)
	}
	v := &Verdict{At: row.EndedAt, Leader: row.Leader}
	if err := json.Unmarshal([]byte(row.Findings), &v.Findings); err != nil {
		return nil, fmt.Errorf("read the audit's verdict: %w", err)
	}
	if err := json.Unmarshal([]byte(row.Unseen), &v.Unseen); err != nil {
		return nil, fmt.Errorf("read the audit's verdict: %w", err)
	}
	return v, nil
}
