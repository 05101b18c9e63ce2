//go:build unix

package folders_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pendingq/pendingq/skills/folders"
)

func TestPipesAreNeverOpened(t *testing.T) {
	home := newHome(t, map[string]string{
		".claude/skills/a/SKILL.md": skillText,
		".claude/skills/b/x":        "",
	})
	root := filepath.Join(home, ".claude", "skills")
	for _, pipe := range []string{"pipe", "a/pipe", "b/SKILL.md"} {
		if err := syscall.Mkfifo(filepath.Join(root, pipe), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link(t, "pipe", filepath.Join(root, "link"))
	b, warnings := bundle(t, rootIn(home), "a")
	if len(b.Files) != 0 || b.Files == nil {
		t.Errorf("files = %#v, want an empty list", b.Files)
	}
	oneWarning(t, warnings, folders.ErrNotRegular, "~/.claude/skills/a/pipe")
	list, _ := discover(t, rootIn(home))
	if keys(list) != "a" {
		t.Errorf("keys = %q, want a", keys(list))
	}
	_, warnings = discover(t, []folders.Root{{Path: filepath.Join(root, "pipe")}})
	if len(warnings) != 1 {
		t.Errorf("warnings = %v, want that the root is no folder", warnings)
	}
}
