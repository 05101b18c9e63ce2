package mutations_test

import (
	"context"
	"encoding/json"
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

// TestMutations runs the test of each chosen mutation with the mutated file. The test must fail. A
// test that always fails would show nothing. So each test must first pass without any mutation.
func TestMutations(t *testing.T) {
	if *pattern == "" {
		if effort.Race {
			t.Skip("the mutated tests run without the race detector in any case")
		}
		*pattern = one
	}
	chosen, sound := regexp.MustCompile(*pattern), map[string]bool{}
	for file, list := range mutations {
		for _, m := range list {
			if !chosen.MatchString(file + " " + m.name) {
				continue
			}
			t.Run(file+" "+m.name, func(t *testing.T) {
				if !sound[m.caught] {
					m.checkPasses(t)
					sound[m.caught] = true
				}
				m.checkCaught(t, filepath.Join("../../backends", file))
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

// checkPasses checks that the test passes without any mutation.
func (m mutation) checkPasses(t *testing.T) {
	t.Helper()
	if out, err := runTest(t, m.caught); err != nil {
		t.Fatalf("%s fails without any mutation: %v\n%s", m.caught, err, out)
	}
}

// checkCaught checks that the test fails with the mutation in a file, and that the mutated code can
// be parsed.
func (m mutation) checkCaught(t *testing.T, file string) {
	t.Helper()
	out, err := runTest(t, m.caught, "-overlay="+m.overlay(t, file))
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

// overlay writes the mutated file. It returns the name of a file that makes the go command build it
// instead of the original.
func (m mutation) overlay(t *testing.T, file string) string {
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
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, filepath.Base(file)), filepath.Join(dir, "overlay.json")
	original, pathErr := filepath.Abs(file)
	replace, jsonErr := json.Marshal(
		map[string]any{"Replace": map[string]string{original: mutated}})
	err = errors.Join(pathErr, jsonErr, os.WriteFile(overlay, replace, 0o600),
		os.WriteFile(mutated, []byte(strings.Join(lines, "\n")), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return overlay
}

var (
	// SQLSTATE 42 is the class of syntax errors and unknown names.
	notParsed = regexp.MustCompile(
		`syntax error|parse error| near '|SQLSTATE 42|\[build failed\]`)
	firstComplaint = regexp.MustCompile(`[a-z]+\.go:\d+: .*(\n.*)?`)
)

// runTest runs one test with further flags of go test.
func runTest(t *testing.T, test string, flags ...string) (string, error) {
	t.Helper()
	dir, name, _ := strings.Cut(test, ":")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	name = "^" + strings.ReplaceAll(name, "/", "$/^") + "$"
	args := append([]string{"test"}, flags...)
	args = append(args, "-vet=off", "-count=1", "-failfast", "-timeout=9m", "-run", name, ".")
	if test == byMachine {
		args = append(args, "-args", "-rapid.checks=1000", "-rapid.nofailfile",
			"-rapid.shrinktime=1s")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join("../..", dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
