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
			{Path: "a", Content: ""}, {Path: "b/SKILL.md", Content: "nested"},
			{Path: "b/c/d e.md", Content: "é\n"},
		},
	}
	if left, err := folders.Unpack(filepath.Join(root, "notes"), want); err != nil || left != nil {
		t.Fatal(left, err)
	}
	got, warnings := bundle(t, rootIn(home), "notes")
	if diff := cmp.Diff(want, got); diff != "" || warnings != nil {
		t.Errorf("warnings = %v, bundle differs (-want +got):\n%s", warnings, diff)
	}
	wantTree := []string{"notes", "notes/SKILL.md", "notes/a", "notes/b", "notes/b/SKILL.md",
		"notes/b/c", "notes/b/c/d e.md"}
	if got := tree(t, root); !slices.Equal(got, wantTree) {
		t.Errorf("unpacked %q, want %q", got, wantTree)
	}
}

// unpacked unpacks a bundle into parent/skill.
func unpacked(t *testing.T, parent string, b skills.Bundle) (left []folders.Warning) {
	t.Helper()
	left, err := folders.Unpack(filepath.Join(parent, "skill"), b)
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestUnpackLeavesOutInvalidPaths(t *testing.T) {
	for _, path := range []string{
		"", ".", "..", "../x", "a/../../x", "a/..", "/etc/x", "//host/x", `\x`, `..\x`, `C:\x`,
		"C:/x", "SKILL.md", "skill.MD", "./SKILL.md", "b.md", strings.Repeat("x/", 512) + "x",
		"a\nb", "a/\x1b[2Jb", "\u0085", "\xff", "dir/a\xc3",
	} {
		parent := t.TempDir()
		left := unpacked(t, parent, skills.Bundle{Content: skillText, Files: []skills.BundleFile{
			{Path: "b.md"}, {Path: "dir/x"}, {Path: path, Content: "evil"}}})
		if len(left) != 1 || !errors.Is(left[0].Err, folders.ErrInvalidPath) {
			t.Errorf("%.40q: left out %v, want one ErrInvalidPath", path, left)
		}
		want := []string{"skill", "skill/SKILL.md", "skill/b.md", "skill/dir", "skill/dir/x"}
		if got := tree(t, parent); !slices.Equal(got, want) {
			t.Errorf("%.40q: got %v, want %v", path, got, want)
		}
	}
}

func TestUnpackDecidesFileByFile(t *testing.T) {
	parent := t.TempDir()
	b := skills.Bundle{Content: skillText}
	kept := []string{"a", "what?.md", "sub/.env", "aux.md", "sub/ü", "LICENSE", ".gitignore"}
	leftOut := []string{"a/b", "sub", "sub/SKILL.md/x", ".git/hooks/x", "x/.GIT/y",
		"x/.git. ./y", "Git~1/x", ".g\u200cit/x", "\ufeff.git/x", "git~1\u200b/x",
		strings.Repeat("x", 256)}
	for _, path := range slices.Concat(kept, leftOut) {
		b.Files = append(b.Files, skills.BundleFile{Path: path, Content: "x"})
	}
	b.Files = append(b.Files, skills.BundleFile{Path: "latin", Content: "\xff"},
		skills.BundleFile{Path: "run.sh", Content: "#!/bin/sh\n"})
	left := unpacked(t, parent, b)
	var got []string
	for _, w := range left {
		got = append(got, fmt.Sprintf("%.9s", w.Path))
	}
	want := "a/b sub .git/hook x/.GIT/y x/.git. . Git~1/x " +
		".g\u200cit/x \ufeff.git/x git~1\u200b/x xxxxxxxxx latin"
	if strings.Join(got, " ") != want {
		t.Errorf("left out %v, want %s", left, want)
	}
	for path, mode := range map[string]os.FileMode{"a": 0o644, "run.sh": 0o755, "what?.md": 0o644} {
		info, err := os.Stat(filepath.Join(parent, "skill", path))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: got %v, %v, want mode %v", path, info, err, mode)
		}
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
		{"8 MiB and SKILL.md", skills.Bundle{Content: "x", Files: files(8, mib)},
			folders.ErrTooLarge},
		{"a large file", skills.Bundle{Files: files(1, mib+"x")}, folders.ErrTooLarge},
		{"a large SKILL.md", skills.Bundle{Content: mib + "x"}, folders.ErrTooLarge},
		{"a SKILL.md that is not UTF-8", skills.Bundle{Content: "\xff"}, folders.ErrNotText},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			_, err := folders.Unpack(filepath.Join(parent, "skill"), c.b)
			if !errors.Is(err, c.want) {
				t.Errorf("Unpack = %v, want %v", err, c.want)
			}
			if left := tree(t, parent); c.want != nil && len(left) > 0 {
				t.Errorf("the parent folder has %v, want nothing", left)
			}
		})
	}
}

func TestUnpackRefusesAnExistingPath(t *testing.T) {
	parent := t.TempDir()
	write(t, parent, map[string]string{"file": "", "folder/x": ""})
	link(t, "nowhere", filepath.Join(parent, "dangling"))
	before := tree(t, parent)
	for _, name := range []string{"file", "folder", "folder/", "dangling", "."} {
		dir := parent + string(filepath.Separator) + name
		_, err := folders.Unpack(dir, skills.Bundle{Content: skillText})
		if !errors.Is(err, folders.ErrExists) {
			t.Errorf("Unpack into %s = %v, want ErrExists", name, err)
		}
	}
	if after := tree(t, parent); !slices.Equal(before, after) {
		t.Errorf("the parent folder has %v, want %v", after, before)
	}
}

func TestUnpackIntoAnImpossibleFolder(t *testing.T) {
	parent := t.TempDir()
	write(t, parent, map[string]string{"file": ""})
	for _, dir := range []string{
		filepath.Join(parent, "missing", "skill"), filepath.Join(parent, "file", "skill"),
		"..", "/", filepath.Join(parent, strings.Repeat("x", 300)),
	} {
		_, err := folders.Unpack(dir, skills.Bundle{Content: skillText})
		if err == nil || errors.Is(err, folders.ErrExists) {
			t.Errorf("Unpack into %.40s = %v, want an error other than ErrExists", dir, err)
		}
	}
	if left := tree(t, parent); len(left) != 1 {
		t.Errorf("the parent folder has %v, want the file alone", left)
	}
}

func TestOneOfManyUnpacksWins(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "skill")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = folders.Unpack(dir, skills.Bundle{Content: skillText})
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
	want := []string{"skill", "skill/SKILL.md"}
	if got := tree(t, parent); won != 1 || !slices.Equal(got, want) {
		t.Errorf("%d won and the parent folder has %v, want one winner and %v", won, got, want)
	}
}

// Unpack never writes outside the new folder. It writes each file or leaves it out with a warning.
func FuzzUnpack(f *testing.F) {
	f.Add(skillText, "a.md", "a", "b/c.md", "c")
	f.Add("", "../x", "", `a\..\b`, "")
	f.Fuzz(func(t *testing.T, content, path1, content1, path2, content2 string) {
		home := newHome(t, map[string]string{
			"canary":                        "alive",
			".claude/skills/other/SKILL.md": "",
		})
		before := tree(t, home)
		b := skills.Bundle{Content: content, Files: []skills.BundleFile{
			{Path: path1, Content: content1}, {Path: path2, Content: content2}}}
		notes := filepath.Join(home, ".claude", "skills", "notes")
		left, err := folders.Unpack(notes, b)
		outside := slices.DeleteFunc(tree(t, home), func(p string) bool {
			const notes = ".claude/skills/notes"
			return err == nil && (p == notes || strings.HasPrefix(p, notes+"/"))
		})
		if !slices.Equal(outside, before) {
			t.Fatalf("other folders have %v, want %v; Unpack = %v", outside, before, err)
		}
		if err != nil {
			return
		}
		written := 0
		for _, path := range tree(t, notes) {
			if info, err := os.Lstat(filepath.Join(notes, path)); err == nil && !info.IsDir() {
				written++
			}
		}
		if written+len(left) != 3 {
			t.Errorf("%d files are written and %v left out, want 3 files in all", written, left)
		}
	})
}
