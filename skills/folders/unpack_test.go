package folders_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
)

func TestUnpackedBundleBundlesBackEqual(t *testing.T) {
	home := newHome(t, nil)
	root := filepath.Join(home, ".claude", "skills")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	want := skills.Bundle{
		Name: "Notes", Description: "Writes them.", Content: skillText,
		SourcePath: "~/.claude/skills/notes", Provider: "claude",
		Files: []skills.BundleFile{
			{Path: "a", Content: ""}, {Path: "b/SKILL.md", Content: "nested"}, {Path: "b/c/d e.md", Content: "é\n"},
		},
	}
	if err := folders.Unpack(filepath.Join(root, "notes"), want); err != nil {
		t.Fatal(err)
	}
	got, warnings := bundle(t, rootIn(home), "notes")
	if diff := cmp.Diff(want, got); diff != "" || warnings != nil {
		t.Errorf("warnings = %v, bundle differs (-want +got):\n%s", warnings, diff)
	}
	if got, want := strings.Join(tree(t, root), " "), "notes notes/SKILL.md notes/a notes/b notes/b/SKILL.md notes/b/c notes/b/c/d e.md"; got != want {
		t.Errorf("unpacked %q, want %q", got, want)
	}
}

func TestUnpackRefusesPaths(t *testing.T) {
	for _, path := range []string{
		"", ".", "..", "../x", "a/../../x", "a/..", "./a", "a/./b", "/etc/x", "//host/x", "a//b", "a/",
		`a\..\b`, `\x`, `..\x`, `C:\x`, "C:/x", "c:x", "a:stream", "a\x00b", "a\nb", "a\x7f", "\xff",
		"CON", "nul.txt", "sub/AUX", "com1", "LPT9.log", "COM¹", "conout$", "a.", "a ", "sub /b", " a", "a?", "a*b",
		".git/hooks/x", ".env", "sub/.x", "SKILL.md", "skill.MD", "SKILL.md/x", "b.md", "B.md", "b.md/c", "Dir/y", "dir",
		strings.Repeat("x", 256), strings.Repeat("x/", 512) + "x",
	} {
		parent := t.TempDir()
		b := skills.Bundle{Content: skillText, Files: []skills.BundleFile{{Path: "b.md"}, {Path: "dir/x"}, {Path: path}}}
		err := folders.Unpack(filepath.Join(parent, "skill"), b)
		if !errors.Is(err, folders.ErrInvalidPath) {
			t.Errorf("Unpack of %.40q = %v, want ErrInvalidPath", path, err)
		}
		if left := tree(t, parent); len(left) > 0 {
			t.Errorf("Unpack of %.40q left %v", path, left)
		}
	}
}

func TestUnpackAllowsNamesThatOnlyLookReserved(t *testing.T) {
	b := skills.Bundle{Content: skillText}
	for _, path := range []string{"COM", "com10", "console.md", "lpt", "a..b", "sub/a b", "sub/ü", "LICENSE"} {
		b.Files = append(b.Files, skills.BundleFile{Path: path})
	}
	if err := folders.Unpack(filepath.Join(t.TempDir(), "skill"), b); err != nil {
		t.Error(err)
	}
}

func TestUnpackRefusesContent(t *testing.T) {
	mib := strings.Repeat("x", folders.MaxFileSize)
	files := func(n int, content string) (files []skills.BundleFile) {
		for i := range n {
			files = append(files, skills.BundleFile{Path: fmt.Sprint(i), Content: content})
		}
		return files
	}
	for _, c := range []struct {
		name string
		b    skills.Bundle
		want error
	}{
		{"the most files", skills.Bundle{Files: files(folders.MaxFiles, "")}, nil},
		{"10,000 files", skills.Bundle{Files: files(10_000, "")}, folders.ErrTooLarge},
		{"8 MiB", skills.Bundle{Files: files(8, mib)}, nil},
		{"8 MiB and SKILL.md", skills.Bundle{Content: "x", Files: files(8, mib)}, folders.ErrTooLarge},
		{"a large file", skills.Bundle{Files: files(1, mib+"x")}, folders.ErrTooLarge},
		{"a large SKILL.md", skills.Bundle{Content: mib + "x"}, folders.ErrTooLarge},
		{"a file that is not UTF-8", skills.Bundle{Files: files(1, "\xff")}, folders.ErrNotText},
		{"a SKILL.md with a NUL", skills.Bundle{Content: "\x00"}, folders.ErrNotText},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			if err := folders.Unpack(filepath.Join(parent, "skill"), c.b); !errors.Is(err, c.want) {
				t.Errorf("Unpack = %v, want %v", err, c.want)
			}
			if left := tree(t, parent); c.want != nil && len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestUnpackRefusesWhatIsThere(t *testing.T) {
	parent := t.TempDir()
	write(t, parent, map[string]string{"file": "", "folder/x": ""})
	link(t, "nowhere", filepath.Join(parent, "dangling"))
	before := tree(t, parent)
	for _, name := range []string{"file", "folder", "folder/", "dangling", "."} {
		dir := parent + string(filepath.Separator) + name
		if err := folders.Unpack(dir, skills.Bundle{Content: skillText}); !errors.Is(err, folders.ErrExists) {
			t.Errorf("Unpack into %s = %v, want ErrExists", name, err)
		}
	}
	if after := tree(t, parent); !slices.Equal(before, after) {
		t.Errorf("it left %v, want %v", after, before)
	}
}

func TestUnpackWhereItCannot(t *testing.T) {
	parent := t.TempDir()
	write(t, parent, map[string]string{"file": ""})
	for _, dir := range []string{
		filepath.Join(parent, "missing", "skill"), filepath.Join(parent, "file", "skill"), "..", "/",
		filepath.Join(parent, strings.Repeat("x", 300)),
	} {
		err := folders.Unpack(dir, skills.Bundle{Content: skillText})
		if err == nil || errors.Is(err, folders.ErrExists) {
			t.Errorf("Unpack into %.40s = %v, want an error of its own", dir, err)
		}
	}
	if left := tree(t, parent); len(left) != 1 {
		t.Errorf("it left %v", left)
	}
}

func TestOneOfManyUnpacksWins(t *testing.T) {
	parent := t.TempDir()
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = folders.Unpack(filepath.Join(parent, "skill"), skills.Bundle{Content: skillText})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, folders.ErrExists) {
			t.Error(err)
		}
	}
	if left := tree(t, parent); won != 1 || !slices.Equal(left, []string{"skill", "skill/SKILL.md"}) {
		t.Errorf("%d won, left %v", won, left)
	}
}

// Nothing is ever written outside the new folder, and what unpacks bundles back equal.
func FuzzUnpack(f *testing.F) {
	f.Add(skillText, "a.md", "a", "b/c.md", "c")
	f.Add("", "../x", "", `a\..\b`, "")
	f.Fuzz(func(t *testing.T, content, path1, content1, path2, content2 string) {
		home := newHome(t, map[string]string{"canary": "alive", ".claude/skills/other/SKILL.md": ""})
		before := tree(t, home)
		b := skills.Bundle{Content: content, Files: []skills.BundleFile{{Path: path1, Content: content1}, {Path: path2, Content: content2}}}
		err := folders.Unpack(filepath.Join(home, ".claude", "skills", "notes"), b)
		outside := slices.DeleteFunc(tree(t, home), func(p string) bool {
			return err == nil && (p == ".claude/skills/notes" || strings.HasPrefix(p, ".claude/skills/notes/"))
		})
		if !slices.Equal(outside, before) {
			t.Fatalf("outside are %v, want %v; Unpack = %v", outside, before, err)
		}
		if err == nil {
			bundlesBack(t, rootIn(home), b)
		}
	})
}

func bundlesBack(t *testing.T, roots []folders.Root, want skills.Bundle) {
	t.Helper()
	got, _ := bundle(t, roots, "notes")
	want.Files = slices.DeleteFunc(want.Files, func(f skills.BundleFile) bool { return isLicence(f.Path) })
	slices.SortFunc(want.Files, func(a, b skills.BundleFile) int { return strings.Compare(a.Path, b.Path) })
	if got.Content != want.Content || !slices.Equal(got.Files, want.Files) {
		t.Errorf("bundled back %q, want %q", got, want)
	}
}

func isLicence(path string) bool {
	name := strings.ToLower(path[strings.LastIndex(path, "/")+1:])
	stem := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, ".md"), ".txt"), ".")
	return stem == "license" || stem == "licence" || stem == "copying"
}
