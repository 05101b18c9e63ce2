package folders_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
)

func TestBundleHoldsTheWholeSkill(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/notes/SKILL.md":     skillText,
		".claude/skills/notes/z.md":         "z",
		".claude/skills/notes/sub/SKILL.md": "nested",
		".claude/skills/notes/sub/a.sh":     "#!/bin/sh\n",
		".claude/skills/notes/sub-x.md":     "",
		".claude/skills/notes/.git/config":  "hidden",
		".claude/skills/notes/.env":         "hidden",
		".claude/skills/notes/LICENSE":      "skipped",
		".claude/skills/notes/Licence.TXT":  "skipped",
		".claude/skills/notes/sub/copying":  "skipped",
		".claude/skills/notes/license.go":   "not a licence",
	})
	got, warnings := bundle(t, rootIn(home), "notes")
	want := skills.Bundle{
		Name: "Notes", Description: "Writes them.", Content: skillText,
		SourcePath: "~/.claude/skills/notes", Provider: "claude",
		Files: []skills.BundleFile{
			{Path: "license.go", Content: "not a licence"}, {Path: "sub-x.md"},
			{Path: "sub/SKILL.md", Content: "nested"}, {Path: "sub/a.sh", Content: "#!/bin/sh\n"},
			{Path: "z.md", Content: "z"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(warnings) != 5 {
		t.Errorf("warnings = %v, bundle differs (-want +got):\n%s", warnings, diff)
	}
	for _, w := range warnings {
		if !errors.Is(w.Err, folders.ErrSkipped) {
			t.Errorf("warning %v, want ErrSkipped", w)
		}
	}
}

// wholeSkill are the files of a home folder with the skill a, whose SKILL.md is a link to notes.md.
func wholeSkill() map[string]string {
	return map[string]string{
		"shared/notes.md":                            skillText,
		".claude/skills/a/scripts/run.py":            "#!/usr/bin/env python3\nprint(1)\n",
		".claude/skills/a/what?.md":                  "q",
		".claude/skills/a/Notes.md":                  "N",
		".claude/skills/a/notes.md":                  "n",
		".claude/skills/a/aux.md":                    "a",
		".claude/skills/a/font.woff2":                "wOF2\x00\x01",
		".claude/skills/a/latin.txt":                 "caf\xe9",
		".claude/skills/a/node_modules/x/index.js":   "x",
		".claude/skills/a/sub/__pycache__/x.pyc":     "x",
		".claude/skills/a/.venv/bin/python":          "x",
		".claude/skills/a/target/x":                  "x",
		".claude/skills/a/dist/x":                    "x",
		".claude/skills/a/.git/config":               "x",
		".claude/skills/node_modules/b/SKILL.md":     skillText,
		".claude/skills/1/2/3/4/5/6/SKILL.md":        skillText,
		".claude/skills/.system/hidden/SKILL.md":     skillText,
		".claude/skills/a/venv/lib/site/SKILL.md":    skillText,
		".claude/skills/a/reference/deep/letters.md": "\ufeffé 漢字 🌍\r\n",
	}
}

// Each file of a skill is in its bundle, or a warning says why not. The unpacked copy is equal, and
// its scripts are executable.
func TestEachFileOfASkillIsBundledOrAWarning(t *testing.T) {
	home := newHome(t, wholeSkill())
	skill := filepath.Join(home, ".claude", "skills", "a")
	link(t, filepath.Join(home, "shared", "notes.md"), filepath.Join(skill, "SKILL.md"))
	link(t, "nowhere", filepath.Join(skill, "dangling"))
	b, left := bundle(t, rootIn(home), "a")
	if b.Name != "Notes" || b.Content != skillText {
		t.Errorf("got %q: %q, want the linked SKILL.md", b.Name, b.Content)
	}
	const below = "~/.claude/skills/a/"
	want := below + strings.Join([]string{".git", ".venv", "dangling", "dist", "font.woff2",
		"latin.txt", "node_modules", "sub/__pycache__", "target", "venv"}, " "+below)
	if got := warned(left); got != want {
		t.Errorf("left out\n%s\nwant\n%s", got, want)
	}
	list, all := discover(t, rootIn(home))
	want += " ~/.claude/skills/.system ~/.claude/skills/1/2/3/4/5/6 ~/.claude/skills/node_modules"
	if keys(list) != "a" || len(all) != len(strings.Fields(want)) {
		t.Errorf("got %q and left out\n%s\nwant in any order\n%s", keys(list), warned(all), want)
	}
	copied := filepath.Join(home, "copy")
	if left, err := folders.Unpack(copied, b); err != nil || left != nil {
		t.Fatal(left, err)
	}
	for _, f := range append(b.Files, skills.BundleFile{Path: "SKILL.md", Content: skillText}) {
		for _, dir := range []string{skill, copied} {
			got, err := os.ReadFile(filepath.Join(dir, f.Path))
			if err != nil || string(got) != f.Content {
				t.Errorf("%s in %s: got %q, %v, want %q", f.Path, dir, got, err, f.Content)
			}
		}
	}
	info, err := os.Stat(filepath.Join(copied, "scripts", "run.py"))
	if err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("the script: %v, %v, want it executable", info, err)
	}
}

// warned returns the paths of warnings, sorted.
func warned(warnings []folders.Warning) string {
	var paths []string
	for _, w := range warnings {
		paths = append(paths, w.Path)
	}
	slices.Sort(paths)
	return strings.Join(paths, " ")
}

func TestBundleRefusesKeys(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/a/SKILL.md": skillText,
		"secret/SKILL.md":           skillText,
	})
	abs := filepath.Join(home, "secret")
	for _, key := range []string{
		"", ".", "..", "../../secret", "a/../../../secret", abs, "a/", "/a", "a//b",
		`..\..\secret`, `C:\a`, "C:/a", ".hidden", "a/.git", "a\x00b", "a\nb", "\xff",
		"1/2/3/4/5/6", " a", strings.Repeat("x", 256), strings.Repeat("x/", 600) + "x",
	} {
		_, _, err := folders.Bundle(t.Context(), rootIn(home), key)
		if !errors.Is(err, folders.ErrInvalidKey) {
			t.Errorf("Bundle of %.40q = %v, want ErrInvalidKey", key, err)
		}
	}
}

func TestBundleOfAnUnknownKey(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/a/SKILL.md":   skillText,
		".claude/skills/a/b/SKILL.md": "",
	})
	link(t, "gone", filepath.Join(home, ".claude", "skills", "dangling"))
	for _, key := range []string{"x", "a/b", "dangling"} {
		_, warnings, err := folders.Bundle(t.Context(), rootIn(home), key)
		if !errors.Is(err, folders.ErrNotFound) || !strings.Contains(err.Error(), key) {
			t.Errorf("Bundle of %q = %v, want ErrNotFound", key, err)
		}
		oneWarning(t, warnings, os.ErrNotExist, "~/.claude/skills/dangling")
	}
}

var tooLarge = strings.Repeat("x", folders.MaxFileSize+1)

func TestFilesThatABundleLeavesOut(t *testing.T) {
	for _, c := range []struct {
		name, file, content string
		want                error
	}{
		{"a NUL", "logo.png", "\x89PNG\x00", folders.ErrNotText},
		{"not UTF-8", "latin.txt", "caf\xe9", folders.ErrNotText},
		{"over the limit of a file", "big.txt", tooLarge, folders.ErrTooLarge},
		{"the other case of SKILL.md", "Skill.md", "", folders.ErrInvalidPath},
		{"hidden", ".env", "", folders.ErrSkipped},
		{"a name with a control character", "a\x1b[2J.md", "", folders.ErrInvalidPath},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := newHome(t, map[string]string{
				".claude/skills/a/SKILL.md":  skillText,
				".claude/skills/a/b.md":      "",
				".claude/skills/a/" + c.file: c.content,
			})
			b, warnings := bundle(t, rootIn(home), "a")
			if got := filePaths(b); got != "b.md" {
				t.Errorf("files = %q, want b.md alone", got)
			}
			oneWarning(t, warnings, c.want, "~/.claude/skills/a/"+c.file)
			if warnings[0].Key != "a" {
				t.Errorf("the warning is about skill %q, want a", warnings[0].Key)
			}
		})
	}
}

func TestLinksInsideASkillAreLeftOut(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/a/SKILL.md": skillText, ".claude/skills/a/b.md": "", "secret/key": "secret",
	})
	skill := filepath.Join(home, ".claude", "skills", "a")
	link(t, filepath.Join(home, "secret", "key"), filepath.Join(skill, "file"))
	link(t, "../../../secret", filepath.Join(skill, "folder"))
	link(t, "b.md", filepath.Join(skill, "inside"))
	link(t, ".", filepath.Join(skill, "loop"))
	b, warnings := bundle(t, rootIn(home), "a")
	if filePaths(b) != "b.md" || len(warnings) != 4 {
		t.Errorf("files = %q, %d warnings, want b.md alone, 4 warnings",
			filePaths(b), len(warnings))
	}
	for _, w := range warnings {
		if !errors.Is(w.Err, folders.ErrNotRegular) {
			t.Errorf("warning %v, want ErrNotRegular", w)
		}
	}
}

func TestBundlesOverTheLimits(t *testing.T) {
	mib := strings.Repeat("x", folders.MaxFileSize)
	numbered := func(i int) string { return fmt.Sprint(i) }
	inTwoFolders := func(i int) string { return fmt.Sprint(i%2, "/.", i) }
	for _, c := range []struct {
		name     string
		count    int
		fileName func(i int) string
		content  string
		want     error
	}{
		{"the most files", folders.MaxFiles, numbered, "", nil},
		{"one file too many", folders.MaxFiles + 1, numbered, "", folders.ErrTooLarge},
		{"10,000 files", 10_000, numbered, "", folders.ErrTooLarge},
		{"10,000 files in two folders", 10_000, inTwoFolders, "", folders.ErrTooLarge},
		{"7 MiB and SKILL.md", 7, numbered, mib, nil},
		{"8 MiB and SKILL.md", 8, numbered, mib, folders.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{".claude/skills/a/SKILL.md": skillText}
			for i := range c.count {
				files[".claude/skills/a/"+c.fileName(i)] = c.content
			}
			roots := rootIn(newHome(t, files))
			if _, _, err := folders.Bundle(t.Context(), roots, "a"); !errors.Is(err, c.want) {
				t.Errorf("Bundle = %v, want %v", err, c.want)
			}
			list, warnings := discover(t, roots)
			if c.want == nil && keys(list) != "a" {
				t.Errorf("list = %v, warnings = %v, want the skill", list, warnings)
			}
			if c.want != nil {
				oneWarning(t, warnings, c.want, "~/.claude/skills/a")
			}
		})
	}
}

func TestSkillsWithoutAReadableSkillFile(t *testing.T) {
	for _, c := range []struct {
		name string
		put  func(t *testing.T, file string)
		want error
	}{
		{"binary", putFile("\x00"), folders.ErrNotText},
		{"too large", putFile(tooLarge), folders.ErrTooLarge},
		{"a huge sparse file", func(t *testing.T, file string) {
			putFile("")(t, file)
			if err := os.Truncate(file, 10<<30); err != nil {
				t.Fatal(err)
			}
		}, folders.ErrTooLarge},
		{"a folder", func(t *testing.T, file string) {
			if err := os.MkdirAll(file, 0o755); err != nil {
				t.Fatal(err)
			}
		}, folders.ErrNotRegular},
		{"a dangling link", func(t *testing.T, file string) {
			link(t, "../c/SKILL.md", file)
		}, folders.ErrNotRegular},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := newHome(t, map[string]string{".claude/skills/b/SKILL.md": skillText})
			c.put(t, filepath.Join(home, ".claude", "skills", "a", "SKILL.md"))
			_, _, err := folders.Bundle(t.Context(), rootIn(home), "a")
			if !errors.Is(err, c.want) {
				t.Errorf("Bundle = %v, want %v", err, c.want)
			}
			list, warnings := discover(t, rootIn(home))
			if keys(list) != "b" {
				t.Errorf("keys = %q, want the other skill alone", keys(list))
			}
			oneWarning(t, warnings, c.want, "~/.claude/skills/a")
		})
	}
}

// No file of a bundle can have such a long path, so the folders below are not even read.
func TestFoldersTooDeepForABundle(t *testing.T) {
	home := newHome(t, map[string]string{".claude/skills/a/SKILL.md": skillText})
	root, err := os.OpenRoot(filepath.Join(home, ".claude", "skills", "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	long := strings.Repeat("x", 250)
	deepest := strings.Join([]string{long, long, long, long, strings.Repeat("y", 18)}, "/")
	if err := root.MkdirAll(deepest+"/z", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"y", "z/in vain"} {
		if err := root.WriteFile(deepest+"/"+file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, warnings := bundle(t, rootIn(home), "a")
	if filePaths(b) != deepest+"/y" {
		t.Errorf("files = %.20q, want the deepest that is allowed", filePaths(b))
	}
	oneWarning(t, warnings, folders.ErrInvalidPath, "~/.claude/skills/a/"+deepest+"/z")
}

// putFile returns a function that writes a file.
func putFile(content string) func(t *testing.T, file string) {
	return func(t *testing.T, file string) {
		write(t, filepath.Dir(file), map[string]string{filepath.Base(file): content})
	}
}
