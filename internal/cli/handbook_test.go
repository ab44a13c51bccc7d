package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A handbookCommand is a command of doc/ops: a line of a block of commands, or
// words between backticks in the text, which may speak of it without all of its
// arguments.
type handbookCommand struct {
	file, text string
	inline     bool
}

var (
	handbookBefore = regexp.MustCompile(`^(\$ )?(sudo )?`)
	handbookAfter  = regexp.MustCompile(`\s+# .*$`)
	// handbookTools are the programs that the handbook calls; `lab up` in the
	// text is short for `hastack lab up`.
	handbookTools = regexp.MustCompile(`^(hastack|\./hastack-new|lab|systemctl|journalctl|rabbitmqctl|mariadb|curl|chronyc|ip|grep|echo|cat|eval|crm|crm_mon|openstack|ssh-keygen) \S`)
)

// handbookCommands reads all chapters.
func handbookCommands(t *testing.T) []handbookCommand {
	t.Helper()
	files, err := filepath.Glob("../../doc/ops/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no handbook: %v", err)
	}
	inline := regexp.MustCompile("`([^`]+)`")
	var out []handbookCommand
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		file, block := filepath.Base(f), ""
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			command := handbookAfter.ReplaceAllString(handbookBefore.ReplaceAllString(line, ""), "")
			switch {
			case strings.HasPrefix(line, "```") && block == "":
				block = line
			case strings.HasPrefix(line, "```"):
				block = ""
			case block == "```sh" && command != "":
				out = append(out, handbookCommand{file, command, false})
			case block == "```" && handbookTools.MatchString(command):
				t.Errorf("%s: %q is in a block that does not begin with ```sh", file, command)
			case block == "":
				for _, m := range inline.FindAllStringSubmatch(line, -1) {
					text := handbookBefore.ReplaceAllString(strings.ReplaceAll(m[1], `\|`, "|"), "")
					if handbookTools.MatchString(text) {
						out = append(out, handbookCommand{file, regexp.MustCompile(`^lab `).ReplaceAllString(text, "hastack lab "), true})
					}
				}
			}
		}
	}
	return out
}

// TestHandbookCallsCommandsThatThereAre holds every call of hastack in the
// handbook against the command line: the command, its flags and its arguments.
func TestHandbookCallsCommandsThatThereAre(t *testing.T) {
	for _, c := range handbookCommands(t) {
		if !strings.HasPrefix(c.text, "hastack ") && !strings.HasPrefix(c.text, "./hastack-new ") {
			continue
		}
		words := handbookWords(c.text)
		root := (&app{out: io.Discard, err: io.Discard}).root()
		cmd, args, err := root.Find(words)
		if err != nil || cmd == root {
			t.Errorf("%s: %q: there is no such command", c.file, c.text)
			continue
		}
		if err := cmd.ParseFlags(args); err != nil && !strings.Contains(c.text, "--help") {
			t.Errorf("%s: %q: %v", c.file, c.text, err)
			continue
		}
		if c.inline && len(cmd.Flags().Args()) == 0 && !strings.Contains(c.text, "--") {
			continue // the text speaks of a command without calling it
		}
		if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			t.Errorf("%s: %q: %v", c.file, c.text, err)
		}
	}
}

// handbookWords are the words of a call: up to a pipe or a redirection, without
// quotes.
func handbookWords(line string) []string {
	line = regexp.MustCompile(`\s+(\||>|&&|;|2>).*$`).ReplaceAllString(line, "")
	var out []string
	for _, w := range regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`).FindAllString(line, -1) {
		out = append(out, strings.Trim(w, `"'`))
	}
	return out[1:]
}

// TestEveryCommandOfTheHandbookIsRun holds the handbook against the list of
// commands that test/cluster/handbook.sh runs. Text between backticks may be the
// beginning of a command that is run; a block is taken letter for letter.
func TestEveryCommandOfTheHandbookIsRun(t *testing.T) {
	const list = "test/cluster/handbook.list"
	b, err := os.ReadFile("../../" + list)
	if err != nil {
		t.Fatal(err)
	}
	run := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			run[command] = true
		}
		if script, ok := strings.CutPrefix(line, "  by "); ok {
			if _, err := os.Stat(filepath.Join("../../test", script)); err != nil {
				t.Errorf("%s: %v", list, err)
			}
		}
	}
	told := map[string]bool{}
	for _, c := range handbookCommands(t) {
		told[c.text] = true
		found := run[c.text]
		for command := range run {
			found = found || c.inline && strings.HasPrefix(command, c.text+" ")
		}
		if !found {
			t.Errorf("doc/ops/%s: nothing runs %q: add it to %s", c.file, c.text, list)
		}
	}
	for command := range run {
		if !told[command] && !handbookSpeaksOf(told, command) {
			t.Errorf("%s: %q is not in the handbook any more", list, command)
		}
	}
}

// handbookSpeaksOf tells whether the text has the beginning of a command, as
// `lab thaw` has of the one that names the server.
func handbookSpeaksOf(told map[string]bool, command string) bool {
	for text := range told {
		if strings.HasPrefix(command, text+" ") {
			return true
		}
	}
	return false
}
