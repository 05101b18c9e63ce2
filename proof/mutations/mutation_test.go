package mutations_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// mutation is a guard taken out, and the test that must not survive it.
type mutation struct {
	guard    string
	file     string // in backends
	old, new string // old stands there once
	caught   string // the test, in package proof unless it says otherwise
	quick    bool   // is made without the flag -mutations, too
}

// TestMutations makes each mutation in a copy of the module and requires its test to fail there, after the test has
// passed without any: a test that fails anyway shows nothing.
func TestMutations(t *testing.T) {
	if os.Getenv(mutatedEnv) != "" {
		return // this is the mutated copy
	}
	root, sound := copyModule(t), map[string]bool{}
	for _, m := range mutations {
		if !m.quick && !*mutateAll {
			continue
		}
		if !sound[m.caught] {
			if out, err := runTest(t, root, m.caught); err != nil {
				t.Fatalf("%s fails without any mutation: %v\n%s", m.caught, err, out)
			}
			sound[m.caught] = true
		}
		t.Run(m.guard, func(t *testing.T) {
			defer m.apply(t, root)()
			m.checkCaught(t, root)
		})
	}
}

// checkCaught checks that the test fails as tests do, and not because what is left can no longer be parsed.
func (m mutation) checkCaught(t *testing.T, root string) {
	t.Helper()
	out, err := runTest(t, root, m.caught)
	var failed *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("%s passes without this guard", m.caught)
	case !errors.As(err, &failed) || !strings.Contains(out, "--- FAIL: ") || notParsed.MatchString(out):
		t.Errorf("%s did not fail as a test does: %v\n%s", m.caught, err, out)
	default:
		t.Logf("%s: %.300s", m.caught, firstComplaint.FindString(out))
	}
}

var (
	notParsed      = regexp.MustCompile(`syntax error|parse error| near '|\[build failed\]`)
	firstComplaint = regexp.MustCompile(`[a-z]+_test\.go:\d+: .*(\n.*)?`)
)

// TestMutationsApply checks that what each mutation takes out stands there once, so that none is forgotten when the
// code changes.
func TestMutationsApply(t *testing.T) {
	if os.Getenv(mutatedEnv) != "" {
		return
	}
	for _, m := range mutations {
		content, err := os.ReadFile(filepath.Join("..", "backends", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(content), m.old); n != 1 {
			t.Errorf("%s: %q stands in %s %d times, want once", m.guard, m.old, m.file, n)
		}
	}
}

// mutatedEnv is set where the tests of a copy run.
const mutatedEnv = "PENDINGQ_MUTATED"

// copyModule copies the module into a folder of the test.
func copyModule(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "copy")
	for _, dir := range []string{"backends", "codec", "internal", "pending", "proof", "skills"} {
		if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(filepath.Join("..", dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join("..", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(root, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// apply makes the mutation and returns how to undo it.
func (m mutation) apply(t *testing.T, root string) (undo func()) {
	t.Helper()
	name := filepath.Join(root, "backends", m.file)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content string) {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(string(content), m.old, m.new, 1))
	return func() { write(string(content)) }
}

// runTest runs one test in the copy. "memory:TestX" is TestX of package memory.
func runTest(t *testing.T, root, name string) (string, error) {
	t.Helper()
	dir, test, elsewhere := strings.Cut(name, ":")
	if elsewhere {
		dir = "./backends/" + dir
	} else {
		dir, test = "./proof", name
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-count=1", "-timeout=120s", "-run", anchored(test), dir)
	if !elsewhere && strings.HasPrefix(test, "TestMachine") {
		cmd.Args = append(cmd.Args, "-args", "-rapid.checks=1000", "-rapid.nofailfile", "-rapid.shrinktime=1s")
	}
	cmd.Dir = root
	cmd.Env = append(os.Environ(), mutatedEnv+"=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// anchored makes a pattern of a test's name that matches no longer ones.
func anchored(test string) string {
	return "^" + strings.ReplaceAll(test, "/", "$/^") + "$"
}
