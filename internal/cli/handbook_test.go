package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// handbookCommands are the calls of hastack in the handbook: lines of code
// blocks, and words between backticks in the text.
func handbookCommands(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../doc/ops/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no handbook: %v", err)
	}
	out := map[string]string{}
	inline := regexp.MustCompile("`((?:sudo )?(?:bin/)?hastack [^`]+)`")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		code := false
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "```") {
				code = !code
				continue
			}
			if code && strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "$ "), "sudo "), "hastack ") {
				out[line] = filepath.Base(f)
			}
			if !code {
				for _, m := range inline.FindAllStringSubmatch(line, -1) {
					out[m[1]] = filepath.Base(f)
				}
			}
		}
	}
	return out
}

// TestHandbookCallsCommandsThatThereAre holds every call in the handbook
// against the command line: the command, its flags and its arguments.
func TestHandbookCallsCommandsThatThereAre(t *testing.T) {
	for line, file := range handbookCommands(t) {
		words := handbookWords(line)
		root := (&app{out: io.Discard, err: io.Discard}).root()
		cmd, args, err := root.Find(words)
		if err != nil || cmd == root {
			t.Errorf("%s: %q: there is no such command", file, line)
			continue
		}
		if err := cmd.ParseFlags(args); err != nil && !strings.Contains(line, "--help") {
			t.Errorf("%s: %q: %v", file, line, err)
			continue
		}
		if bare := len(cmd.Flags().Args()) == 0 && !strings.Contains(line, "--"); bare {
			continue // the text speaks of a command without calling it
		}
		if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			t.Errorf("%s: %q: %v", file, line, err)
		}
	}
}

// handbookWords are the words of a call: up to a comment, a pipe or a
// redirection, without quotes, and with optional parts taken.
func handbookWords(line string) []string {
	line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "$ "), "sudo "), "bin/")
	line = regexp.MustCompile(`\s+(#|\||>|&&|;|2>).*$`).ReplaceAllString(line, "")
	line = strings.NewReplacer("[", "", "]", "", "…", "", "...", "").Replace(line)
	var out []string
	for _, w := range regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`).FindAllString(line, -1) {
		out = append(out, strings.Trim(w, `"'`))
	}
	return out[1:]
}
