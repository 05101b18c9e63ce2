package folders_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
)

func TestDefaultRootsInOrder(t *testing.T) {
	home := newHome(t, nil)
	roots, err := folders.DefaultRoots()
	if err != nil {
		t.Fatal(err)
	}
	want := folders.Root{Provider: "claude", Path: filepath.Join(home, ".claude", "skills")}
	if roots[0] != want || roots[1].Provider != "codex" {
		t.Errorf("first roots = %v, want claude, codex", roots[:2])
	}
	last := folders.Root{
		Provider: "universal", Path: filepath.Join(home, ".agents", "skills"), Universal: true}
	if got := roots[len(roots)-1]; got != last {
		t.Errorf("last root = %v, want %v", got, last)
	}
}

func TestDefaultRootsNeedAHome(t *testing.T) {
	newHome(t, nil)
	os.Unsetenv("HOME")
	os.Unsetenv("USERPROFILE")
	if roots, err := folders.DefaultRoots(); err == nil {
		t.Errorf("roots = %v, want an error", roots)
	}
}

func TestDiscoverDescribesSkills(t *testing.T) {
	newHome(t, map[string]string{
		".claude/skills/team/notes/SKILL.md":      skillText,
		".claude/skills/team/notes/docs/a.md":     "a",
		".claude/skills/team/notes/docs/SKILL.md": "a supporting file",
		".claude/skills/readme.txt":               "no skill",
		".agents/skills/plain/SKILL.md":           "no front matter",
	})
	roots, _ := folders.DefaultRoots()
	list, warnings := discover(t, roots)
	want := []skills.LocalSkill{
		{
			Key: "plain", Name: "plain", SourcePath: "~/.agents/skills/plain",
			Provider: "universal", Root: "universal", FileCount: 1,
		},
		{
			Key: "team/notes", Name: "Notes", Description: "Writes them.",
			SourcePath: "~/.claude/skills/team/notes",
			Provider:   "claude", Root: "provider", FileCount: 3,
		},
	}
	if diff := cmp.Diff(want, list); diff != "" || warnings != nil {
		t.Errorf("warnings = %v, list differs (-want +got):\n%s", warnings, diff)
	}
	for _, s := range list {
		if b, _ := bundle(t, roots, s.Key); s.FileCount != 1+len(b.Files) {
			t.Errorf("%s: %d files counted, %d in its bundle", s.Key, s.FileCount, len(b.Files))
		}
	}
}

func TestSourcePathOutsideHomeIsAbsolute(t *testing.T) {
	newHome(t, nil)
	elsewhere := t.TempDir()
	write(t, elsewhere, map[string]string{"notes/SKILL.md": skillText})
	list, _ := discover(t, []folders.Root{{Provider: "codex", Path: elsewhere}})
	if want := filepath.Join(elsewhere, "notes"); len(list) != 1 || list[0].SourcePath != want {
		t.Errorf("list = %v, want one skill in %s", list, want)
	}
	os.Unsetenv("HOME")
	os.Unsetenv("USERPROFILE")
	if list, _ := discover(t, []folders.Root{{Path: elsewhere}}); len(list) != 1 {
		t.Errorf("list without a home = %v, want one skill", list)
	}
}

func TestFirstRootWins(t *testing.T) {
	newHome(t, map[string]string{
		".claude/skills/both/SKILL.md":   skillText,
		".claude/skills/broken/SKILL.md": "\x00",
		".agents/skills/both/SKILL.md":   "the other",
		".agents/skills/broken/SKILL.md": "readable, and not what the provider would load",
	})
	roots, _ := folders.DefaultRoots()
	list, warnings := discover(t, roots)
	if keys(list) != "both" || list[0].Provider != "claude" {
		t.Errorf("list = %v, want the skill of claude alone", list)
	}
	want := "~/.agents/skills/both ~/.agents/skills/broken ~/.claude/skills/broken"
	if got := warned(warnings); got != want {
		t.Errorf("left out %s, want %s", got, want)
	}
	for _, w := range warnings {
		kind := folders.ErrSkipped // an earlier root has the key
		if w.Path == "~/.claude/skills/broken" {
			kind = folders.ErrNotText
		}
		if !errors.Is(w.Err, kind) {
			t.Errorf("warning %v, want %v", w, kind)
		}
	}
	if b, _ := bundle(t, roots, "both"); b.Content != skillText {
		t.Errorf("content = %q, want the first root's", b.Content)
	}
}

func TestFoldersThatAreNoSkill(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/SKILL.md":                   "the root is no skill",
		".claude/skills/.system/hidden/SKILL.md":    skillText,
		".claude/skills/1/2/3/4/5/SKILL.md":         skillText,
		".claude/skills/1/2/3/4/deep/deep/SKILL.md": skillText,
		".claude/skills/lower/skill.md":             skillText,
		".claude/skills/empty/notes.md":             "",
		".claude/skills/outer/SKILL.md":             skillText,
		".claude/skills/outer/inner/SKILL.md":       skillText,
	})
	list, warnings := discover(t, rootIn(home))
	if got, want := keys(list), "1/2/3/4/5 outer"; got != want {
		t.Errorf("keys = %q, want %q", got, want)
	}
	want := "~/.claude/skills/.system ~/.claude/skills/1/2/3/4/deep/deep"
	if got := warned(warnings); got != want {
		t.Errorf("left out %s, want %s", got, want)
	}
}

func TestLinksToFoldersAreFollowedOnce(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/real/SKILL.md": skillText,
		"work/linked/SKILL.md":         skillText,
		"work/group/one/SKILL.md":      skillText,
		"work/file.md":                 "",
	})
	root := filepath.Join(home, ".claude", "skills")
	link(t, filepath.Join(home, "work", "linked"), filepath.Join(root, "linked"))
	link(t, filepath.Join(home, "work", "linked"), filepath.Join(root, "linked-again"))
	link(t, filepath.Join(home, "work", "group"), filepath.Join(root, "group"))
	link(t, "real", filepath.Join(root, "a-second-name"))
	link(t, "..", filepath.Join(root, "group", "loop"))
	link(t, root, filepath.Join(home, "work", "group", "back"))
	link(t, filepath.Join(home, "work", "file.md"), filepath.Join(root, "file"))
	list, warnings := discover(t, rootIn(home))
	if got, want := keys(list), "group/one linked real"; got != want {
		t.Errorf("keys = %q, want %q", got, want)
	}
	const below = "~/.claude/skills/"
	want := map[string]string{
		below + "a-second-name":     "skipped: the same folder as " + below + "real",
		below + "group/back":        "skipped: the same folder as ~/.claude/skills",
		below + "group/loop/group":  "skipped: the same folder as " + below + "group",
		below + "group/loop/linked": "skipped: the same folder as " + below + "linked",
		below + "linked-again":      "skipped: the same folder as " + below + "linked",
	}
	got := map[string]string{}
	for _, w := range warnings {
		got[w.Path] = w.Err.Error()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings differ (-want +got):\n%s", diff)
	}
	if b, _ := bundle(t, rootIn(home), "linked"); b.SourcePath != "~/.claude/skills/linked" {
		t.Errorf("source path = %q, want the path of the link", b.SourcePath)
	}
}

// A skill that is linked from one root into another is listed once. Nothing is left out.
func TestASkillInTwoRoots(t *testing.T) {
	home := newHome(t, map[string]string{".agents/skills/notes/SKILL.md": skillText})
	link(t, filepath.Join(home, ".agents", "skills", "notes"),
		filepath.Join(home, ".claude", "skills", "notes"))
	roots, _ := folders.DefaultRoots()
	list, warnings := discover(t, roots)
	if keys(list) != "notes" || list[0].Provider != "claude" || warnings != nil {
		t.Errorf("list = %v with warnings %v, want the skill of claude", list, warnings)
	}
}

func TestLinkedRoot(t *testing.T) {
	home := newHome(t, map[string]string{".agents/skills/notes/SKILL.md": skillText})
	link(t, filepath.Join(home, ".agents", "skills"), filepath.Join(home, ".claude", "skills"))
	if list, _ := discover(t, rootIn(home)); keys(list) != "notes" {
		t.Errorf("keys = %q, want notes", keys(list))
	}
}

func TestFoldersThatCannotBeSearchedAreWarnings(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/fine/SKILL.md":       skillText,
		`.claude/skills/back\slash/SKILL.md`: skillText,
		".claude/skills/latin\xe9/SKILL.md":  skillText,
		".codex/skills":                      "a file",
	})
	root := filepath.Join(home, ".claude", "skills")
	link(t, "nowhere", filepath.Join(root, "dangling"))
	link(t, "itself", filepath.Join(root, "itself"))
	codex := folders.Root{Provider: "codex", Path: filepath.Join(home, ".codex", "skills")}
	roots := append(rootIn(home), codex)
	list, warnings := discover(t, roots)
	if keys(list) != "fine" {
		t.Errorf("keys = %q, want fine", keys(list))
	}
	want := map[string]error{
		"~/.claude/skills/dangling":   os.ErrNotExist,
		"~/.claude/skills/itself":     nil,
		`~/.claude/skills/back\slash`: folders.ErrInvalidKey,
		"~/.claude/skills/latin\xe9":  folders.ErrInvalidKey,
		"~/.codex/skills":             nil,
	}
	for _, w := range warnings {
		noHome(t, home, w.Err)
		kind, ok := want[w.Path]
		if !ok || kind != nil && !errors.Is(w.Err, kind) {
			t.Errorf("warning %v, want one of %v", w, want)
		}
		delete(want, w.Path)
	}
	if len(want) > 0 {
		t.Errorf("no warnings about %v", want)
	}
}

func TestRelativeRootIsAnError(t *testing.T) {
	for _, path := range []string{"", "skills"} {
		roots := []folders.Root{{Provider: "claude", Path: path}}
		if _, _, err := folders.Discover(t.Context(), roots); err == nil {
			t.Errorf("Discover in %q: no error", path)
		}
		_, _, err := folders.Bundle(t.Context(), roots, "x")
		if err == nil || errors.Is(err, folders.ErrNotFound) {
			t.Errorf("Bundle in %q: %v, want that the root is not absolute", path, err)
		}
	}
}

func TestARootThatDoesNotExistIsAnError(t *testing.T) {
	home := newHome(t, nil)
	discover(t, rootIn(home)) // a well-known root need not exist
	roots := []folders.Root{{Provider: "local", Path: filepath.Join(home, "typo")}}
	if _, _, err := folders.Discover(t.Context(), roots); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Discover = %v, want that the root does not exist", err)
	}
	_, _, err := folders.Bundle(t.Context(), roots, "x")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Bundle = %v, want that the root does not exist", err)
	}
	noHome(t, home, err)
}

func TestDescriptionsInAListAreCut(t *testing.T) {
	long := strings.Repeat("é", 5000)
	home := newHome(t, map[string]string{
		".claude/skills/a/SKILL.md": "---\nname: " + strings.Repeat("n", 300) +
			"\ndescription: " + long + "\n---\n"})
	list, warnings := discover(t, rootIn(home))
	if got := len([]rune(list[0].Description)); got != folders.MaxListed {
		t.Errorf("the description has %d characters in the list, want %d", got, folders.MaxListed)
	}
	if len(warnings) != 2 {
		t.Errorf("warnings = %v, want one about the name and one about the description", warnings)
	}
	b, _ := bundle(t, rootIn(home), "a")
	if len(b.Name) != skills.MaxName || len(b.Description) > skills.MaxDescription {
		t.Errorf("the bundle has a name of %d bytes and a description of %d bytes",
			len(b.Name), len(b.Description))
	}
}

func TestOtherErrorsOfARootAreWarnings(t *testing.T) {
	newHome(t, nil)
	roots := []folders.Root{{Provider: "claude", Path: "/" + strings.Repeat("x", 300)}}
	_, warnings := discover(t, roots)
	oneWarning(t, warnings, syscall.ENAMETOOLONG, roots[0].Path)
}

func TestRootsWithTooManyFolders(t *testing.T) {
	home := newHome(t, map[string]string{".claude/skills/a/SKILL.md": skillText})
	for i := range 10_001 {
		dir := filepath.Join(home, ".claude", "skills", "group", fmt.Sprint(i/5001), fmt.Sprint(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	list, warnings := discover(t, rootIn(home))
	if keys(list) != "a" {
		t.Errorf("keys = %q, want the skill before the limit", keys(list))
	}
	oneWarning(t, warnings, folders.ErrTooLarge, "~/.claude/skills")
}

func TestCancelledDiscoverStops(t *testing.T) {
	home := newHome(t, map[string]string{".claude/skills/a/SKILL.md": skillText})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := folders.Discover(ctx, rootIn(home)); !errors.Is(err, context.Canceled) {
		t.Errorf("Discover = %v, want cancelled", err)
	}
	if _, _, err := folders.Bundle(ctx, rootIn(home), "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Bundle = %v, want cancelled", err)
	}
}

// countdown is a context that calls then in each call of Err after a number of calls.
type countdown struct {
	context.Context
	left int
	then func() error
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return c.then()
	}
	return nil
}

func TestASkillThatDisappearsAfterTheSearch(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/a/SKILL.md": skillText,
		".claude/skills/b/x":        "",
	})
	skill := filepath.Join(home, ".claude", "skills", "a")
	ctx := &countdown{t.Context(), 2, func() error { return os.RemoveAll(skill) }} // before b
	_, _, err := folders.Bundle(ctx, rootIn(home), "a")
	if !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("Bundle = %v, want that the folder does not exist", err)
	}
	noHome(t, home, err)
}

func TestCancelledWhileReadingStops(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/a/SKILL.md": skillText,
		".claude/skills/a/b.md":     "",
	})
	for left := range 4 {
		ctx := &countdown{t.Context(), left, func() error { return context.Canceled }}
		if list, _, err := folders.Discover(ctx, rootIn(home)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at call %d: %v, %v", left, list, err)
		}
	}
}
