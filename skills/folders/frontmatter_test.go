package folders_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/skills/folders"
)

func TestFrontMatter(t *testing.T) {
	long := strings.Repeat("x", folders.MaxFrontMatter)
	for _, c := range []struct {
		name, content string
		title, about  string
		warning       error
	}{
		{"both", "---\nname: N\ndescription: D\n---\n", "N", "D", nil},
		{"nothing", "", "a", "", nil},
		{"none", "# Title\n---\nname: N\n---\n", "a", "", nil},
		{"Windows lines and a byte order mark", "\ufeff---\r\nname: N\r\n---\r\n", "N", "", nil},
		{"empty", "---\n---\n", "a", "", nil},
		{"a comment alone", "---\n# nothing\n---\n", "a", "", nil},
		{"no name", "---\ndescription: D\n---", "a", "D", nil},
		{"a blank name", "---\nname: '  '\n---", "a", "", nil},
		{"null", "---\nname: ~\ndescription: null\n---", "a", "", nil},
		{"a number", "---\nname: 007\n---", "007", "", nil},
		{"folded", "---\ndescription: >\n  two\n  lines\n---", "a", "two lines", nil},
		{"an alias", "---\nx: &x N\nname: *x\n---", "N", "", nil},
		{"other fields", "---\nname: N\nmetadata: {name: no, tags: [x]}\n---", "N", "", nil},
		{"never closed", "---\nname: N\n", "a", "", folders.ErrFrontMatter},
		{"one line", "---", "a", "", folders.ErrFrontMatter},
		{"not YAML", "---\nname: N\ndescription: use it: now\n---", "a", "", folders.ErrFrontMatter},
		{"not YAML on no line", "---\nname: *secret\n---", "a", "", folders.ErrFrontMatter},
		{"a list", "---\n- name\n---", "a", "", folders.ErrFrontMatter},
		{"a list for a name", "---\nname: [x]\ndescription: D\n---", "a", "D", folders.ErrFrontMatter},
		{"a NUL by escape", "---\nname: \"a\\0\"\ndescription: D\n---", "a", "D", folders.ErrFrontMatter},
		{"too long", "---\nname: " + long + "\n---", "a", "", folders.ErrTooLarge},
		{"nested deeply", "---\nname: " + strings.Repeat("[", 60_000) + "\n---", "a", "", folders.ErrFrontMatter},
		{"aliases of aliases", "---\n" + billionLaughs() + "name: N\ndescription: *z\n---", "N", "", folders.ErrFrontMatter},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := newHome(t, map[string]string{".claude/skills/a/SKILL.md": c.content})
			list, warnings := discover(t, rootIn(home))
			if len(list) != 1 || list[0].Name != c.title || list[0].Description != c.about {
				t.Errorf("list = %.200v, want name %q, description %q", list, c.title, c.about)
			}
			if c.warning == nil && warnings != nil {
				t.Errorf("warnings = %v, want none", warnings)
			}
			if c.warning != nil {
				oneWarning(t, warnings, c.warning, "~/.claude/skills/a/SKILL.md")
			}
		})
	}
}

// billionLaughs is YAML of which each line is ten times as large as the line before it, up to *z.
func billionLaughs() string {
	var b strings.Builder
	b.WriteString("a: &a [lol]\n")
	for c := 'b'; c <= 'z'; c++ {
		ref := fmt.Sprintf("*%c,", c-1)
		fmt.Fprintf(&b, "%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(ref, 10), ","))
	}
	return b.String()
}

func TestWarningsDoNotQuoteTheFile(t *testing.T) {
	for _, content := range []string{"---\nname: *secret\n---", "---\nsecret: [\n---", "---\nname: [secret]\n---"} {
		home := newHome(t, map[string]string{".claude/skills/a/SKILL.md": content})
		_, warnings := discover(t, rootIn(home))
		if len(warnings) != 1 || strings.Contains(warnings[0].Err.Error(), "secret") {
			t.Errorf("%q: warnings = %v, want one that does not quote it", content, warnings)
		}
	}
}

// Whatever a SKILL.md says, its skill is listed under a name, and at worst with a warning.
func FuzzFrontMatter(f *testing.F) {
	f.Add("---\nname: N\ndescription: D\n---\n")
	f.Add("---\n" + billionLaughs() + "name: *z\n---\n")
	root := f.TempDir()
	dir := filepath.Join(root, "a")
	if err := os.Mkdir(dir, 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content string) {
		write(t, dir, map[string]string{"SKILL.md": content})
		roots := []folders.Root{{Path: root}}
		b, warnings, err := folders.Bundle(t.Context(), roots, "a")
		if err != nil {
			if !errors.Is(err, folders.ErrNotText) && !errors.Is(err, folders.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if b.Name == "" || b.Content != content {
			t.Errorf("name = %q, content = %q", b.Name, b.Content)
		}
		for _, w := range warnings {
			if !errors.Is(w.Err, folders.ErrFrontMatter) {
				t.Errorf("warning %v, want ErrFrontMatter", w)
			}
		}
	})
}
