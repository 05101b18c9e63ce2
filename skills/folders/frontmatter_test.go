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

// The shapes are those of 20,203 SKILL.md files that people have published.
func TestFrontMatter(t *testing.T) {
	long := strings.Repeat("x", folders.MaxFrontMatter)
	const nd = "name: N\ndescription: D\n"
	for _, c := range []struct {
		name, content string
		title, about  string
		warning       error
	}{
		{"both", "---\n" + nd + "---\n", "N", "D", nil},
		{"nothing", "", "a", "", nil},
		{"no front matter", "Do it.\n", "a", "", nil},
		{"a heading and rulers", "# Title\n---\nSome text\n---\n", "a", "", nil},
		{"a heading and a list between rulers", "# Title\n---\n- x\n---\n", "a", "", nil},
		{"no space after the marker's end", "---\n" + nd + "---", "N", "D", nil},
		{"spaces after the markers", "---  \n" + nd + "---\t\n", "N", "D", nil},
		{"a longer ruler is no marker", "----\n" + nd + "----\n", "a", "", nil},
		{"Windows lines", "---\r\nname: N\r\ndescription: D\r\n---\r\n", "N", "D", nil},
		{"lines of an old Mac", "---\rname: N\rdescription: D\r---\rText\r", "N", "D", nil},
		{"a byte order mark", "\ufeff---\n" + nd + "---\n", "N", "D", nil},
		{"a byte order mark and Windows lines", "\ufeff---\r\nname: N\r\n---\r\n", "N", "", nil},
		{"a blank line first", "\n---\n" + nd + "---\n", "N", "D", nil},
		{"blank lines and spaces first", "\n  \n\t\n---\n" + nd + "---\n", "N", "D", nil},
		{"a blank line and a byte order mark", "\n\ufeff---\n" + nd + "---\n", "N", "D", nil},
		{"an HTML comment first", "<!-- SPDX: MIT -->\n---\n" + nd + "---\n", "N", "D", nil},
		{"an HTML comment of some lines", "<!--\nMIT\n---\n-->\n\n---\n" + nd + "---\n", "N", "D", nil},
		{"an HTML comment that never ends", "<!-- \n---\n" + nd + "---\n", "a", "", nil},
		{"a YAML comment first", "# generated\n---\n" + nd + "---\n", "N", "D", nil},
		{"empty", "---\n---\n", "a", "", nil},
		{"a comment alone", "---\n# nothing\n---\n", "a", "", nil},
		{"comments in between", "---\n# x\nname: N # the name\n# y: z\ndescription: D\n---\n", "N", "D", nil},
		{"blank lines in between", "---\n\nname: N\n\n\ndescription: D\n\n---\n", "N", "D", nil},
		{"no name", "---\ndescription: D\n---", "a", "D", nil},
		{"no description", "---\nname: N\n---", "N", "", nil},
		{"a blank name", "---\nname: '  '\n---", "a", "", nil},
		{"null", "---\nname: ~\ndescription: null\n---", "a", "", nil},
		{"a field without a value", "---\nname:\ndescription: D\n---", "a", "D", nil},
		{"a number", "---\nname: 007\ndescription: 1.50\n---", "007", "1.50", nil},
		{"a boolean", "---\nname: yes\ndescription: true\n---", "yes", "true", nil},
		{"a date", "---\nname: 2026-01-02\n---", "2026-01-02", "", nil},
		{"quotes", "---\nname: \"N\"\ndescription: 'D: it''s'\n---", "N", "D: it's", nil},
		{"escapes", "---\nname: \"\\u00e9\"\ndescription: \"a\\tb\"\n---", "é", "a\tb", nil},
		{"a quoted key", "---\n\"name\": N\n'description': D\n---", "N", "D", nil},
		{"folded", "---\ndescription: >\n  two\n  lines\n---", "a", "two lines", nil},
		{"folded and stripped", "---\ndescription: >-\n  two\n  lines\nname: N\n---", "N", "two lines", nil},
		{"literal", "---\ndescription: |\n  two\n  lines\n---", "a", "two\nlines", nil},
		{"plain over two lines", "---\ndescription: two\n  lines\nname: N\n---", "N", "two lines", nil},
		{"on the next line", "---\ndescription:\n  next\nname: N\n---", "N", "next", nil},
		{"an alias", "---\nx: &x N\nname: *x\n---", "N", "", nil},
		{"other fields", "---\nname: N\nmetadata: {name: no, tags: [x]}\n---", "N", "", nil},
		{"a name that is nested", "---\nmetadata:\n  name: no\ndescription: D\n---", "a", "D", nil},
		{"emoji and other scripts", "---\nname: 🌍\ndescription: 漢字, é\n---", "🌍", "漢字, é", nil},
		{"a tab after the colon", "---\nname:\tN\n---", "N", "", nil},
		{"an unquoted colon", "---\nname: N\ndescription: use it: now\n---", "N", "use it: now", nil},
		{"an unquoted colon before another field", "---\ndescription: Use when: x\nname: N\n---", "N", "Use when: x", nil},
		{"an unquoted colon over two lines", "---\ndescription: a: b\n  c: d\nname: N\n---", "N", "a: b c: d", nil},
		{"an asterisk", "---\nname: N\ndescription: *bold* text\n---", "N", "*bold* text", nil},
		{"a bracket", "---\nname: N\ndescription: [WIP] does it\n---", "N", "[WIP] does it", nil},
		{"an at sign", "---\nname: N\ndescription: @ada does it\n---", "N", "@ada does it", nil},
		{"a backquote", "---\nname: N\ndescription: `x` does it\n---", "N", "`x` does it", nil},
		{"a percent sign", "---\nname: N\ndescription: %x\n---", "N", "%x", nil},
		{"an apostrophe in single quotes", "---\nname: N\ndescription: 'it's so'\n---", "N", "it's so", nil},
		{"quotes in quotes", "---\nname: N\ndescription: \"say \"hi\" now\"\n---", "N", "say \"hi\" now", nil},
		{"a wrong escape", "---\nname: N\ndescription: \"C:\\work\"\n---", "N", "C:\\work", nil},
		{"an argument hint", "---\nargument-hint: [a] [--b]\n" + nd + "---", "N", "D", nil},
		{"an argument hint last", "---\n" + nd + "argument-hint: [a] [--b]\n---", "N", "D", nil},
		{"all tools", "---\nname: N\nallowed-tools: *\ndescription: D\n---", "N", "D", nil},
		{"a tab in the metadata", "---\nname: N\nmetadata:\n\tauthor: x\ndescription: D\n---", "N", "D", nil},
		{"a bracket that stays open", "---\nname: N\ntags: [a, b\ndescription: D\n---", "N", "D", nil},
		{"a quote that stays open", "---\nname: N\nlicense: \"MIT\ndescription: D\n---", "N", "D", nil},
		{"a wrapped line", "---\ndescription: one\ntwo\nname: N\n---", "N", "one two", nil},
		{"a name twice", "---\nname: M\nname: N\n---", "N", "", nil},
		{"never closed", "---\n" + nd + "\n# Title\nfoo: bar\n", "N", "D", folders.ErrFrontMatter},
		{"one line", "---", "a", "", folders.ErrFrontMatter},
		{"not YAML at all", "---\n[\n---", "a", "", folders.ErrFrontMatter},
		{"a list", "---\n- name\n---", "a", "", folders.ErrFrontMatter},
		{"a list for a name", "---\nname: [x]\ndescription: D\n---", "a", "D", folders.ErrFrontMatter},
		{"a mapping for a description", "---\nname: N\ndescription:\n  en: D\n---", "N", "", folders.ErrFrontMatter},
		{"a NUL by escape", "---\nname: \"a\\0\"\ndescription: D\n---", "a", "D", folders.ErrFrontMatter},
		{"too long", "---\nname: " + long + "\n---", "a", "", folders.ErrTooLarge},
		{"nested deeply", "---\n" + nd + "x: " + strings.Repeat("[", 60_000) + "\n---", "N", "D", nil},
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
	for _, content := range []string{"---\nsecret: [\n---", "---\nname: [secret]\n---"} {
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
			if !errors.Is(w.Err, folders.ErrFrontMatter) && !errors.Is(w.Err, folders.ErrTooLarge) {
				t.Errorf("warning %v, want ErrFrontMatter or ErrTooLarge", w)
			}
		}
	})
}
