package vipguard

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stopped tells whether the daemon of a pid file, or a child of it, is held by
// a signal (SIGSTOP, a debugger). It never answers then, however long one
// waits; a daemon that merely waits for a processor does.
func stopped(pidFile string) bool {
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return false
	}
	main := strings.TrimSpace(string(b))
	if held(main) {
		return true
	}
	// Not every kernel tells; then the slower signs remain.
	children, err := os.ReadFile(filepath.Join("/proc", main, "task", main, "children"))
	if err != nil {
		return false
	}
	for child := range strings.FieldsSeq(string(children)) {
		if held(child) {
			return true
		}
	}
	return false
}

// held reads the state of a process: the field after its name, which is in
// brackets and may contain anything.
func held(pid string) bool {
	if _, err := strconv.Atoi(pid); err != nil {
		return false
	}
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return false
	}
	_, after, ok := cutLast(string(b), ") ")
	return ok && (strings.HasPrefix(after, "T") || strings.HasPrefix(after, "t"))
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
