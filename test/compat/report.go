package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// result is the outcome of one acceptance test.
type result struct {
	suite, name, action, output string
}

const (
	tableBegin = "<!-- gophercloud: begin -->"
	tableEnd   = "<!-- gophercloud: end -->"
)

func report(results []result, statusFile, updateFile string, verbose, whole bool) error {
	passed, failed, skipped := 0, 0, 0
	for _, r := range results {
		switch r.action {
		case "pass":
			passed++
		case "fail":
			failed++
			if verbose {
				fmt.Println(r.output)
			}
		default:
			skipped++
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if updateFile != "" {
		return writeTable(updateFile, results, passed, failed, skipped)
	}
	var errs []error
	if whole {
		if passed < failed+skipped {
			errs = append(errs, fmt.Errorf("only %d of %d pass", passed, len(results)))
		}
		errs = append(errs, regressions(results, statusFile)...)
	}
	return errors.Join(errs...)
}

// regressions names the tests that the table says passed and that did not.
func regressions(results []result, file string) []error {
	b, err := os.ReadFile(file)
	if err != nil {
		return []error{err}
	}
	var errs []error
	for _, r := range results {
		if r.action != "pass" && strings.Contains(string(b), "| "+r.suite+" | "+r.name+" | pass |") {
			errs = append(errs, fmt.Errorf("%s %s passed before: %s", r.suite, r.name, why(r)))
		}
	}
	return errs
}

func writeTable(file string, results []result, passed, failed, skipped int) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(b), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no place for the table (%s … %s)", file, tableBegin, tableEnd)
	}
	slices.SortStableFunc(results, func(a, b result) int { return strings.Compare(a.suite+a.name, b.suite+b.name) })
	var t strings.Builder
	fmt.Fprintf(&t, "%s\n%d passed, %d failed, %d skipped.\n\n| suite | test | outcome | why |\n| --- | --- | --- | --- |\n", tableBegin, passed, failed, skipped)
	for _, r := range results {
		reason := ""
		if r.action != "pass" {
			reason = why(r)
		}
		fmt.Fprintf(&t, "| %s | %s | %s | %s |\n", r.suite, r.name, r.action, reason)
	}
	return os.WriteFile(file, []byte(before+t.String()+tableEnd+after), 0o644)
}

var (
	place = regexp.MustCompile(`^\s*[\w./-]+\.go:\d+: `)
	id    = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|127\.0\.0\.1:\d+`)
)

// why is the first line of a test's output that says what was wrong.
func why(r result) string {
	if s, ok := reasons[r.name]; ok {
		return s
	}
	var last string
	for line := range strings.Lines(r.output) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.HasPrefix(line, "==="), strings.HasPrefix(line, "---"), strings.HasPrefix(line, "goroutine"):
			continue
		}
		text := place.ReplaceAllString(line, "")
		if strings.Contains(text, "Failure") || strings.Contains(text, "Unable") || strings.Contains(text, "rror") || strings.Contains(text, "xpected") || strings.Contains(text, "exceeded") {
			last = text
			break
		}
		if last == "" {
			last = text
		}
	}
	last = id.ReplaceAllString(strings.NewReplacer("|", "/", "\x1b[1;31m", "", "\x1b[0;m", "", "\x1b[1;33m", "").Replace(last), "…")
	if len(last) > 160 {
		last = last[:160] + "…"
	}
	return last
}
