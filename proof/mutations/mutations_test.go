package mutations_test

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/effort"
)

var pattern = flag.String("mutations", "",
	"make the mutations that match this regular `expression` of file and name, such as "+
		"\"memory/shard.go final\"; . for all; empty: one mutation")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// one is the mutation of a short run.
const one = "^memory/shard.go final$"

// mutation is a guard that is removed or made wrong.
type mutation struct {
	name    string // the name in the marker
	becomes string // the line that replaces the marked line; "" removes it
	caught  string // the test that must fail: its folder, a colon and its name
}

// TestMutations makes each chosen mutation in a copy of the module and requires its test to fail. A
// test that always fails would show nothing. So each test must first pass without any mutation.
func TestMutations(t *testing.T) {
	if *pattern == "" {
		if effort.Race {
			t.Skip("the mutated tests run without the race detector in any case")
		}
		*pattern = one
	}
	chosen, root, sound := regexp.MustCompile(*pattern), copyModule(t), map[string]bool{}
	for file, list := range mutations {
		for _, m := range list {
			if !chosen.MatchString(file + " " + m.name) {
				continue
			}
			t.Run(file+" "+m.name, func(t *testing.T) {
				if !sound[m.caught] {
					m.checkPasses(t, root)
					sound[m.caught] = true
				}
				m.makeIn(t, filepath.Join(root, "backends", file))
				m.checkCaught(t, root)
			})
		}
	}
	if len(sound) == 0 {
		t.Errorf("no mutation matches %q", *pattern)
	}
}

// TestMutationsApply checks that each mutation has a marker and changes its line, and that each
// marker has a mutation.
func TestMutationsApply(t *testing.T) {
	marked, lines := allMarkers(t)
	for file, list := range mutations {
		for _, m := range list {
			i := slices.Index(marked[file], m.name)
			if i < 0 {
				t.Errorf("%s has no marker of the mutation %s", file, m.name)
				continue
			}
			marked[file] = slices.Delete(marked[file], i, i+1)
			code := marker.ReplaceAllString(lines[file][m.place(lines[file])], "")
			if strings.TrimSpace(code) == m.becomes {
				t.Errorf("the mutation %s of %s changes nothing", m.name, file)
			}
		}
	}
	for file, names := range marked {
		if len(names) > 0 {
			t.Errorf("%s has markers without a mutation, or twice: %v", file, names)
		}
	}
}

// allMarkers returns the names in all markers, and all lines, by file.
func allMarkers(t *testing.T) (marked, lines map[string][]string) {
	t.Helper()
	marked, lines = map[string][]string{}, map[string][]string{}
	backends := os.DirFS("../../backends")
	err := fs.WalkDir(backends, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !slices.Contains([]string{".go", ".lua", ".sql"}, filepath.Ext(name)) {
			return err
		}
		content, err := fs.ReadFile(backends, name)
		lines[name] = strings.Split(string(content), "\n")
		for _, line := range lines[name] {
			marked[name] = append(marked[name], markers(line)...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return marked, lines
}

// marker matches a comment of Go, Lua or SQL. A remark may follow it.
var marker = regexp.MustCompile(`(?://|--) mutation: ([a-z-]+(?:, [a-z-]+)*)(?:;.*)?$`)

// markers returns the names in the marker of a line, if it has one.
func markers(line string) []string {
	found := marker.FindStringSubmatch(line)
	if found == nil {
		return nil
	}
	return strings.Split(found[1], ", ")
}

// place returns the index of the marked line, or -1. If the marker is alone on its line, the next
// line is the marked line.
func (m mutation) place(lines []string) int {
	at := slices.IndexFunc(lines, func(line string) bool {
		return slices.Contains(markers(line), m.name)
	})
	if at >= 0 && marker.FindStringIndex(strings.TrimSpace(lines[at]))[0] == 0 {
		at++
	}
	return at
}

// makeIn makes the mutation in a file. The file is restored when the test ends.
func (m mutation) makeIn(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(content), "\n")
	at := m.place(lines)
	if at < 0 {
		t.Fatalf("%s has no marker %s", file, m.name)
	}
	lines[at] = m.becomes
	write(t, file, strings.Join(lines, "\n"))
	t.Cleanup(func() { write(t, file, string(content)) })
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkPasses checks that the test passes without any mutation.
func (m mutation) checkPasses(t *testing.T, root string) {
	t.Helper()
	if out, err := runTest(t, root, m.caught); err != nil {
		t.Fatalf("%s fails without any mutation: %v\n%s", m.caught, err, out)
	}
}

// checkCaught checks that the test fails, and that the mutated code can be parsed.
func (m mutation) checkCaught(t *testing.T, root string) {
	t.Helper()
	out, err := runTest(t, root, m.caught)
	var failed *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("%s passes without this guard", m.caught)
	case !errors.As(err, &failed) || !strings.Contains(out, "--- FAIL: ") ||
		notParsed.MatchString(out):
		t.Errorf("%s did not fail as a test does: %v\n%s", m.caught, err, out)
	default:
		t.Logf("%s: %.300s", m.caught, firstComplaint.FindString(out))
	}
}

var (
	// SQLSTATE 42 is the class of syntax errors and unknown names.
	notParsed = regexp.MustCompile(
		`syntax error|parse error| near '|SQLSTATE 42|\[build failed\]`)
	firstComplaint = regexp.MustCompile(`[a-z]+\.go:\d+: .*(\n.*)?`)
)

// copyModule copies the module into a folder of the test.
func copyModule(t *testing.T) (root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "copy")
	for _, dir := range []string{"backends", "codec", "internal", "pending", "proof", "skills"} {
		source := os.DirFS(filepath.Join("../..", dir))
		if err := os.CopyFS(filepath.Join(root, dir), source); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, name), string(content))
	}
	return root
}

// runTest runs one test in the copy.
func runTest(t *testing.T, root, test string) (string, error) {
	t.Helper()
	dir, name, _ := strings.Cut(test, ":")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	name = "^" + strings.ReplaceAll(name, "/", "$/^") + "$"
	// With -trimpath, go finds the copy's packages in its cache, whatever folder they are in.
	cmd := exec.CommandContext(ctx, "go", "test", "-trimpath", "-vet=off", "-count=1", "-failfast",
		"-timeout=9m", "-run", name, ".")
	if test == byMachine {
		cmd.Args = append(cmd.Args, "-args", "-rapid.checks=1000", "-rapid.nofailfile",
			"-rapid.shrinktime=1s")
	}
	cmd.Dir = filepath.Join(root, dir) // it may be in a module of its own
	out, err := cmd.CombinedOutput()
	return string(out), err
}
