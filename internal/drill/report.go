package drill

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/hastack/hastack/internal/config"
)

// Names of the files of a report.
const (
	jsonFile     = "report.json"
	markdownFile = "report.md"
	htmlFile     = "index.html"
)

// Write writes the report into a directory in its three forms. Each file is
// replaced at once, so that a reader never sees half of it.
func Write(dir string, r *Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	page, err := HTML(r)
	if err != nil {
		return err
	}
	return errors.Join(
		config.WriteFile(filepath.Join(dir, jsonFile), b, 0o644),
		config.WriteFile(filepath.Join(dir, markdownFile), []byte(Markdown(r)), 0o644),
		config.WriteFile(filepath.Join(dir, htmlFile), page, 0o644))
}

// Read reads a report from a directory, or from its JSON file, which may be
// compressed (.gz).
func Read(path string) (*Report, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, jsonFile)
	}
	b, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("report %s: %w", path, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("report %s has schema %d, this hastack reads %d: merge it with the version that wrote it", path, r.Schema, Schema)
	}
	return &r, nil
}

// readFile is the text of a file, of a compressed one what was compressed.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if filepath.Ext(path) != ".gz" {
		return io.ReadAll(f)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.ReadAll(z)
}

// Merge makes one report of several of one cluster: rounds of equal faults come
// together, in the order of the reports.
func Merge(reports []*Report) (*Report, error) {
	if len(reports) == 0 {
		return nil, errors.New("there is no report to merge")
	}
	out := *reports[0]
	out.Faults, out.Ledgers, out.Checks, out.Notes, out.Parts = nil, nil, nil, nil, nil
	for _, r := range reports {
		if r.Cluster != out.Cluster {
			return nil, fmt.Errorf("reports of two clusters, %s and %s: merge each by itself", out.Cluster, r.Cluster)
		}
		if r.Started.Before(out.Started) {
			out.Started = r.Started
		}
		if r.Ended.After(out.Ended) {
			out.Ended, out.Version = r.Ended, r.Version
		}
		for _, n := range r.Notes {
			if !slices.Contains(out.Notes, n) {
				out.Notes = append(out.Notes, n)
			}
		}
		out.Parts = append(out.Parts, r.Made()...)
		out.Ledgers = append(out.Ledgers, r.Ledgers...)
		for _, c := range r.Checks {
			out.addCheck(c)
		}
		for _, f := range r.Faults {
			at := slices.IndexFunc(out.Faults, func(o Result) bool { return o.Name == f.Name && o.Suite == f.Suite })
			if at < 0 {
				out.Faults = append(out.Faults, f)
				continue
			}
			out.Faults[at].Rounds = slices.Concat(out.Faults[at].Rounds, f.Rounds)
		}
	}
	slices.SortStableFunc(out.Faults, func(a, b Result) int { return slices.Index(Suites(), a.Suite) - slices.Index(Suites(), b.Suite) })
	return &out, nil
}

// addCheck takes a check: one that failed once has failed.
func (r *Report) addCheck(c Check) {
	at := slices.IndexFunc(r.Checks, func(o Check) bool { return o.Name == c.Name })
	if at < 0 {
		r.Checks = append(r.Checks, c)
		return
	}
	r.Checks[at].OK = r.Checks[at].OK && c.OK
	r.Checks[at].Findings = slices.Concat(r.Checks[at].Findings, c.Findings)
}
