package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// libraryIn opens a library, as another server would.
func libraryIn(t *testing.T, dir string) *library {
	t.Helper()
	l, err := openLibrary(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// saveOf returns a save of a new request by ada.
func saveOf(name string, change ...func(*skillshttp.Save)) skillshttp.Save {
	s := skillshttp.Save{RequestID: backends.NewID("laptop"), RuntimeID: "laptop",
		CreatorID: "ada", Name: name, Description: "d",
		Bundle: skills.Bundle{Name: name, Provider: "claude", SourcePath: "~/x",
			Content: "---\nname: x\n---\r\ntext, no newline at the end",
			Files: []skills.BundleFile{
				{Path: "a/b/c.md", Content: "<b>\n"},
				{Path: "z.txt", Content: ""},
			}}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func saved(t *testing.T, l *library, s skillshttp.Save) skills.Skill {
	t.Helper()
	skill, err := l.Save(t.Context(), s)
	if err != nil {
		t.Fatalf("save %q: %v", s.Name, err)
	}
	return skill
}

// onDisk returns the files below a folder by their paths.
func onDisk(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// versions returns the folders with files of a skill.
func versions(t *testing.T, l *library, s skills.Skill) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(l.dir, "*"+s.ID, "*", skillFile))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTheFilesOnDiskEqualTheBundle(t *testing.T) {
	l := libraryIn(t, t.TempDir())
	s := saveOf("Release Notes")
	skill := saved(t, l, s)
	got := onDisk(t, filepath.Join(l.dir, "release-notes-"+skill.ID, s.RequestID))
	want := map[string]string{skillFile: s.Bundle.Content, "a/b/c.md": "<b>\n", "z.txt": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("on disk (-want +got):\n%s", diff)
	}
	if skill.Content != s.Bundle.Content || skill.Name != "Release Notes" ||
		skill.Description != "d" || skill.CreatedBy != "ada" {
		t.Errorf("got %+v", skill)
	}
	files := skill.Files
	if len(files) != 2 || files[0].Path != "a/b/c.md" || files[0].Content != "<b>\n" ||
		files[0].ID == files[1].ID {
		t.Errorf("its files: %+v", files)
	}
	if !strings.Contains(string(skill.Config), `"runtime_id":"laptop"`) {
		t.Errorf("its config: %s", skill.Config)
	}
}

func TestNamesNeverLeadOutside(t *testing.T) {
	dir := t.TempDir()
	l := libraryIn(t, filepath.Join(dir, "skills"))
	for _, name := range []string{"../../x", "/etc/passwd", "..", ".", "", "a\x00b", "名", `c:\x`,
		strings.Repeat("x", 5000), ".lock", "CON"} {
		s := saveOf(name)
		if skill := saved(t, l, s); skill.Name != name {
			t.Errorf("%.20q: the skill is named %.20q", name, skill.Name)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want no files beside the library", entries, err)
	}
	s := saveOf("n")
	s.RequestID = "../x"
	if _, err := l.Save(t.Context(), s); err == nil {
		t.Error("a request id that leads outside was taken")
	}
	if err := l.TakeBack(t.Context(), "../x"); err == nil {
		t.Error("a request id that leads outside was taken back")
	}
}

func TestASaveIsRepeatedByItsRequest(t *testing.T) {
	dir := t.TempDir()
	s := saveOf("n")
	first := saved(t, libraryIn(t, dir), s)
	s.Name, s.Bundle.Content = "renamed meanwhile", "changed meanwhile"
	if diff := cmp.Diff(first, saved(t, libraryIn(t, dir), s)); diff != "" {
		t.Errorf("another server's repeat (-first +repeat):\n%s", diff)
	}
	over := saveOf("n", func(s *skillshttp.Save) {
		s.Overwrite, s.Bundle.Content = first.ID, "new"
	})
	saved(t, libraryIn(t, dir), over)
	if diff := cmp.Diff(first, saved(t, libraryIn(t, dir), s)); diff != "" {
		t.Errorf("a repeat after an overwrite (-first +repeat):\n%s", diff)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("got %v, %v, want one skill and the lock", entries, err)
	}
}

func TestANameIsTakenOnce(t *testing.T) {
	l := libraryIn(t, t.TempDir())
	first := saved(t, l, saveOf("n"))
	for creator, can := range map[string]bool{"ada": true, "bob": false} {
		s := saveOf("n", func(s *skillshttp.Save) { s.CreatorID = creator })
		_, err := l.Save(t.Context(), s)
		var taken *skillshttp.NameTakenError
		want := skills.Conflict{ExistingSkillID: first.ID, ExistingCreatedBy: "ada",
			CanOverwrite: can}
		if !errors.As(err, &taken) || taken.Conflict != want {
			t.Errorf("%s: got %v, want %+v", creator, err, want)
		}
	}
	if other := saved(t, l, saveOf("N")); other.ID == first.ID {
		t.Error("names that differ in letter case are one skill")
	}
}

func TestOverwriting(t *testing.T) {
	l := libraryIn(t, t.TempDir())
	first := saved(t, l, saveOf("n"))
	over := func(change func(*skillshttp.Save)) error {
		_, err := l.Save(t.Context(), saveOf("n", func(s *skillshttp.Save) {
			s.Overwrite = first.ID
			change(s)
		}))
		return err
	}
	for _, tc := range []struct {
		says   string
		change func(*skillshttp.Save)
	}{
		{"only its creator", func(s *skillshttp.Save) { s.CreatorID = "bob" }},
		{"does not exist", func(s *skillshttp.Save) { s.Overwrite = skillID("another") }},
		{"does not exist", func(s *skillshttp.Save) { s.Overwrite = "lock" }}, // .lock is a file
		{"keeps its name", func(s *skillshttp.Save) { s.Name = "m" }},
	} {
		err := over(tc.change)
		if !errors.Is(err, skillshttp.ErrRefused) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("got %v, want a refusal that says %q", err, tc.says)
		}
	}
	skill := saved(t, l, saveOf("its own name now", func(s *skillshttp.Save) {
		s.Overwrite, s.Description, s.Bundle.Content, s.Bundle.Files = first.ID, "new", "new", nil
	}))
	if skill.ID != first.ID || skill.Name != "n" || skill.Content != "new" ||
		len(skill.Files) != 0 || skill.UpdatedAt.Equal(skill.CreatedAt) {
		t.Errorf("got %+v", skill)
	}
	for range keptVersions + 3 {
		if err := over(func(*skillshttp.Save) {}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(versions(t, l, first)); n != keptVersions {
		t.Errorf("%d versions are kept, want %d", n, keptVersions)
	}
}

func TestTakingBack(t *testing.T) {
	dir := t.TempDir()
	l := libraryIn(t, dir)
	s := saveOf("n")
	first := saved(t, l, s)
	for range 2 { // the second is a repeat
		if err := l.TakeBack(t.Context(), s.RequestID); err != nil {
			t.Fatal(err)
		}
	}
	if len(versions(t, l, first)) != 0 {
		t.Error("the skill still has files")
	}
	again := saveOf("n")
	saved(t, l, again)
	over := saveOf("n", func(o *skillshttp.Save) { o.Overwrite = first.ID })
	saved(t, l, over)
	for _, request := range []string{again.RequestID, over.RequestID, s.RequestID} {
		if err := l.TakeBack(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		if n := len(versions(t, l, first)); n != 2 {
			t.Errorf("%d versions are left, want 2: the skill has changed since", n)
		}
	}
}

// A kill between any two steps of a save has the effect of no save.
func TestLeftoversOfAKill(t *testing.T) {
	for name, leave := range map[string]func(shelf, request string) error{
		"an empty folder": func(_, _ string) error { return nil },
		"files half unpacked": func(shelf, _ string) error {
			return os.MkdirAll(filepath.Join(shelf, ".unpack-X", "a"), 0o755)
		},
		"a version without record": func(shelf, request string) error {
			return os.CopyFS(filepath.Join(shelf, request), os.DirFS("."))
		},
		"a record not yet renamed": func(shelf, _ string) error {
			return os.WriteFile(filepath.Join(shelf, "."+recordFile), []byte("{"), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := libraryIn(t, t.TempDir())
			s := saveOf("n")
			shelf := filepath.Join(l.dir, shelfName("n", skillID("n")))
			if err := errors.Join(os.Mkdir(shelf, 0o755), leave(shelf, s.RequestID)); err != nil {
				t.Fatal(err)
			}
			if err := l.TakeBack(t.Context(), s.RequestID); err != nil {
				t.Errorf("take back an import that was not saved: %v", err)
			}
			over := saveOf("", func(o *skillshttp.Save) { o.Overwrite = skillID("n") })
			if _, err := l.Save(t.Context(), over); !errors.Is(err, skillshttp.ErrRefused) {
				t.Errorf("overwrite a skill that does not exist: got %v", err)
			}
			skill := saved(t, l, s)
			entries, err := os.ReadDir(shelf)
			if err != nil || len(entries) != 2 || len(skill.Files) != 2 {
				t.Errorf("got %v, %v and %d files, want the record, the version and 2 files",
					entries, err, len(skill.Files))
			}
		})
	}
}

func TestAKillWhileTakingBackOrPruning(t *testing.T) {
	l := libraryIn(t, t.TempDir())
	s := saveOf("n")
	skill := saved(t, l, s)
	shelf := filepath.Join(l.dir, shelfName("n", skill.ID))
	// The kill came after the record was removed, and before the files were.
	if err := os.Remove(filepath.Join(shelf, recordFile)); err != nil {
		t.Fatal(err)
	}
	other := saveOf("n")
	saved(t, l, other)
	found := versions(t, l, skill)
	if len(found) != 1 || !strings.Contains(found[0], other.RequestID) {
		t.Errorf("got %v, want the new version alone", found)
	}
}

func TestARecordThatIsBrokenIsAnError(t *testing.T) {
	l := libraryIn(t, t.TempDir())
	s := saveOf("n")
	skill := saved(t, l, s)
	path := filepath.Join(l.dir, shelfName("n", skill.ID), recordFile)
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	over := saveOf("n", func(o *skillshttp.Save) { o.Overwrite = skill.ID })
	for _, again := range []skillshttp.Save{s, saveOf("n"), over} {
		_, err := l.Save(t.Context(), again)
		if err == nil || errors.Is(err, skillshttp.ErrRefused) {
			t.Errorf("got %v, want an error after which the daemon repeats its report", err)
		}
	}
}

// Many servers save at once. Each request goes to all servers, and the requests share a few names.
func TestServersShareAFolder(t *testing.T) {
	dir := t.TempDir()
	servers := []*library{libraryIn(t, dir), libraryIn(t, dir), libraryIn(t, dir)}
	type outcome struct {
		skill skills.Skill
		err   error
	}
	const requests, names = 12, 3
	var outcomes [requests][3]outcome
	var all sync.WaitGroup
	for i := range requests {
		s := saveOf(fmt.Sprint("name ", i%names))
		for j, l := range servers {
			all.Go(func() {
				skill, err := l.Save(context.Background(), s)
				outcomes[i][j] = outcome{skill, err}
			})
		}
	}
	all.Wait()
	won := 0
	for i, o := range outcomes {
		for j := range o {
			var taken *skillshttp.NameTakenError
			if o[j].err != nil && !errors.As(o[j].err, &taken) {
				t.Errorf("request %d: %v", i, o[j].err)
			}
			if diff := cmp.Diff(o[0].skill, o[j].skill); diff != "" {
				t.Errorf("request %d: servers disagree:\n%s", i, diff)
			}
		}
		if o[0].err == nil {
			won++
		}
	}
	if won != names {
		t.Errorf("%d requests have saved a skill, want one for each name", won)
	}
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	dir := t.TempDir()
	holder, other := libraryIn(t, dir), libraryIn(t, dir)
	err := holder.lock.while(t.Context(), func() error {
		for _, l := range []*library{holder, other} {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := l.Save(ctx, saveOf("n")); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the context's error", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
