package folders_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const skillText = "---\nname: Notes\ndescription: Writes them.\n---\nDo it.\n"

// newHome makes a new home folder with files, given by their paths with / between the segments.
func newHome(t *testing.T, files map[string]string) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	write(t, home, files)
	return home
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// link makes a link at path to target, which may be relative to path's folder.
func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// rootIn returns the root of claude in a home folder. Most tests need no other.
func rootIn(home string) []folders.Root {
	return []folders.Root{{Provider: "claude", Path: filepath.Join(home, ".claude", "skills")}}
}

func discover(t *testing.T, roots []folders.Root) ([]skills.LocalSkill, []folders.Warning) {
	t.Helper()
	list, warnings, err := folders.Discover(t.Context(), roots)
	if err != nil {
		t.Fatal(err)
	}
	return list, warnings
}

// noHome fails the test if an error contains the path of the home folder, and so a user's name.
func noHome(t *testing.T, home string, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if strings.Contains(err.Error(), home) {
			t.Errorf("the error names the home folder: %v", err)
		}
	}
}

func keys(list []skills.LocalSkill) string {
	var keys []string
	for _, s := range list {
		keys = append(keys, s.Key)
	}
	return strings.Join(keys, " ")
}

func bundle(t *testing.T, roots []folders.Root, key string) (skills.Bundle, []folders.Warning) {
	t.Helper()
	b, warnings, err := folders.Bundle(t.Context(), roots, key)
	if err != nil {
		t.Fatal(err)
	}
	return b, warnings
}

func filePaths(b skills.Bundle) string {
	var paths []string
	for _, f := range b.Files {
		paths = append(paths, f.Path)
	}
	return strings.Join(paths, " ")
}

// oneWarning fails the test unless there is exactly one warning, of this kind and about this path.
func oneWarning(t *testing.T, warnings []folders.Warning, kind error, path string) {
	t.Helper()
	if len(warnings) != 1 || !errors.Is(warnings[0].Err, kind) || warnings[0].Path != path {
		t.Errorf("warnings = %v, want one of %q about %s", warnings, kind, path)
	}
}

// tree lists everything below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Delete(paths, 0, 1)
}
