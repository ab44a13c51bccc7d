package db

import (
	"database/sql/driver"
	"errors"
	"io"
	"slices"
)

// keptRows are rows that were read to their end before anybody asked.
type keptRows struct {
	columns []string
	rows    [][]driver.Value
}

// read takes and closes rows. Called again it starts anew.
func (k *keptRows) read(rows driver.Rows) error {
	k.columns, k.rows = slices.Clone(rows.Columns()), nil
	for {
		row := make([]driver.Value, len(k.columns))
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			return rows.Close()
		}
		if err != nil {
			return errors.Join(err, rows.Close())
		}
		for i := range row {
			if b, ok := row[i].([]byte); ok {
				row[i] = slices.Clone(b)
			}
		}
		k.rows = append(k.rows, row)
	}
}

func (k *keptRows) Columns() []string { return k.columns }
func (k *keptRows) Close() error      { return nil }

func (k *keptRows) Next(dest []driver.Value) error {
	if len(k.rows) == 0 {
		return io.EOF
	}
	copy(dest, k.rows[0])
	k.rows = k.rows[1:]
	return nil
}
