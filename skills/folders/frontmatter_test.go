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

const nameAndDescription = "name: N\ndescription: D\n"

// frontMatterCase is a text and the fields that Discover has to find in it. A skill without a name
// is listed under that of its folder, "a".
type frontMatterCase struct{ what, text, name, description string }

// check writes a SKILL.md, and compares the fields and the warning of Discover. A nil warning means
// none.
func (c frontMatterCase) check(t *testing.T, content string, warning error) {
	t.Run(c.what, func(t *testing.T) {
		home := newHome(t, map[string]string{".claude/skills/a/SKILL.md": content})
		list, warnings := discover(t, rootIn(home))
		if len(list) != 1 || list[0].Name != c.name || list[0].Description != c.description {
			t.Errorf("list = %.200v, want name %q, description %q", list, c.name, c.description)
		}
		if warning == nil && warnings != nil {
			t.Errorf("warnings = %v, want none", warnings)
		}
		if warning != nil {
			oneWarning(t, warnings, warning, "~/.claude/skills/a/SKILL.md")
		}
	})
}

// The cases of this file come from 20,203 published SKILL.md files. Here a text is a whole
// SKILL.md.
func TestWhereFrontMatterStartsAndEnds(t *testing.T) {
	const nd = nameAndDescription
	for _, c := range []frontMatterCase{
		{"both", "---\n" + nd + "---\n", "N", "D"},
		{"nothing", "", "a", ""},
		{"no front matter", "Do it.\n", "a", ""},
		{"a heading and rulers", "# Title\n---\nSome text\n---\n", "a", ""},
		{"a heading and a list between rulers", "# Title\n---\n- x\n---\n", "a", ""},
		{"no space after the marker's end", "---\n" + nd + "---", "N", "D"},
		{"spaces after the markers", "---  \n" + nd + "---\t\n", "N", "D"},
		{"a longer ruler is no marker", "----\n" + nd + "----\n", "a", ""},
		{"Windows lines", "---\r\nname: N\r\ndescription: D\r\n---\r\n", "N", "D"},
		{"lines of an old Mac", "---\rname: N\rdescription: D\r---\rText\r", "N", "D"},
		{"a byte order mark", "\ufeff---\n" + nd + "---\n", "N", "D"},
		{"a byte order mark and Windows lines", "\ufeff---\r\nname: N\r\n---\r\n", "N", ""},
		{"a blank line first", "\n---\n" + nd + "---\n", "N", "D"},
		{"blank lines and spaces first", "\n  \n\t\n---\n" + nd + "---\n", "N", "D"},
		{"a blank line and a byte order mark", "\n\ufeff---\n" + nd + "---\n", "N", "D"},
		{"an HTML comment first", "<!-- SPDX: MIT -->\n---\n" + nd + "---\n", "N", "D"},
		{"an HTML comment of some lines", "<!--\nMIT\n---\n-->\n\n---\n" + nd + "---\n", "N", "D"},
		{"an HTML comment that never ends", "<!-- \n---\n" + nd + "---\n", "a", ""},
		{"a YAML comment first", "# generated\n---\n" + nd + "---\n", "N", "D"},
		{"empty", "---\n---\n", "a", ""},
		{"a comment alone", "---\n# nothing\n---\n", "a", ""},
		{"comments in between", "---\n# x\nname: N # y\n# z: z\ndescription: D\n---\n", "N", "D"},
		{"blank lines in between", "---\n\nname: N\n\n\ndescription: D\n\n---\n", "N", "D"},
	} {
		c.check(t, c.text, nil)
	}
}

// Here a text is the YAML between the --- lines.
func TestFieldsOfFrontMatter(t *testing.T) {
	for _, c := range []frontMatterCase{
		{"no name", "description: D", "a", "D"},
		{"no description", "name: N", "N", ""},
		{"a blank name", "name: '  '", "a", ""},
		{"null", "name: ~\ndescription: null", "a", ""},
		{"a field without a value", "name:\ndescription: D", "a", "D"},
		{"a number", "name: 007\ndescription: 1.50", "007", "1.50"},
		{"a boolean", "name: yes\ndescription: true", "yes", "true"},
		{"a date", "name: 2026-01-02", "2026-01-02", ""},
		{"quotes", "name: \"N\"\ndescription: 'D: it''s'", "N", "D: it's"},
		{"escapes", "name: \"\\u00e9\"\ndescription: \"a\\tb\"", "é", "a\tb"},
		{"a quoted key", "\"name\": N\n'description': D", "N", "D"},
		{"folded", "description: >\n  two\n  lines", "a", "two lines"},
		{"folded and stripped", "description: >-\n  two\n  lines\nname: N", "N", "two lines"},
		{"literal", "description: |\n  two\n  lines", "a", "two\nlines"},
		{"plain over two lines", "description: two\n  lines\nname: N", "N", "two lines"},
		{"on the next line", "description:\n  next\nname: N", "N", "next"},
		{"an alias", "x: &x N\nname: *x", "N", ""},
		{"other fields", "name: N\nmetadata: {name: no, tags: [x]}", "N", ""},
		{"a name that is nested", "metadata:\n  name: no\ndescription: D", "a", "D"},
		{"emoji and other scripts", "name: 🌍\ndescription: 漢字, é", "🌍", "漢字, é"},
		{"a tab after the colon", "name:\tN", "N", ""},
	} {
		c.check(t, "---\n"+c.text+"\n---", nil)
	}
}

// Here a text is the invalid YAML between the --- lines, as people write it.
func TestFieldsOfInvalidYAML(t *testing.T) {
	const nd = nameAndDescription
	for _, c := range []frontMatterCase{
		{"an unquoted colon", "name: N\ndescription: use it: now", "N", "use it: now"},
		{"a colon before another field", "description: Use when: x\nname: N", "N", "Use when: x"},
		{"a colon over two lines", "description: a: b\n  c: d\nname: N", "N", "a: b c: d"},
		{"an asterisk", "name: N\ndescription: *bold* text", "N", "*bold* text"},
		{"a bracket", "name: N\ndescription: [WIP] does it", "N", "[WIP] does it"},
		{"an at sign", "name: N\ndescription: @ada does it", "N", "@ada does it"},
		{"a backquote", "name: N\ndescription: `x` does it", "N", "`x` does it"},
		{"a percent sign", "name: N\ndescription: %x", "N", "%x"},
		{"an apostrophe in single quotes", "name: N\ndescription: 'it's so'", "N", "it's so"},
		{"quotes in quotes", "name: N\ndescription: \"say \"hi\" now\"", "N", "say \"hi\" now"},
		{"a wrong escape", "name: N\ndescription: \"C:\\work\"", "N", "C:\\work"},
		{"an argument hint", "argument-hint: [a] [--b]\nname: N\ndescription: D", "N", "D"},
		{"an argument hint last", nd + "argument-hint: [a] [--b]", "N", "D"},
		{"all tools", "name: N\nallowed-tools: *\ndescription: D", "N", "D"},
		{"a tab in the metadata", "name: N\nmetadata:\n\tauthor: x\ndescription: D", "N", "D"},
		{"a bracket that stays open", "name: N\ntags: [a, b\ndescription: D", "N", "D"},
		{"a quote that stays open", "name: N\nlicense: \"MIT\ndescription: D", "N", "D"},
		{"a wrapped line", "description: one\ntwo\nname: N", "N", "one two"},
		{"a name twice", "name: M\nname: N", "N", ""},
		{"nested deeply", nd + "x: " + strings.Repeat("[", 60_000), "N", "D"},
	} {
		c.check(t, "---\n"+c.text+"\n---", nil)
	}
}

// Here a text is a whole SKILL.md.
func TestBrokenFrontMatterIsAWarning(t *testing.T) {
	const nd = nameAndDescription
	long := strings.Repeat("x", folders.MaxFrontMatter)
	laughs := billionLaughs() + "name: N\ndescription: *z"
	for _, c := range []frontMatterCase{
		{"never closed", "---\n" + nd + "\n# Title\nfoo: bar\n", "N", "D"},
		{"one line", "---", "a", ""},
		{"not YAML at all", "---\n[\n---", "a", ""},
		{"a list", "---\n- name\n---", "a", ""},
		{"a list for a name", "---\nname: [x]\ndescription: D\n---", "a", "D"},
		{"a mapping for a description", "---\nname: N\ndescription:\n  en: D\n---", "N", ""},
		{"a NUL by escape", "---\nname: \"a\\0\"\ndescription: D\n---", "a", "D"},
		{"aliases of aliases", "---\n" + laughs + "\n---", "N", ""},
	} {
		c.check(t, c.text, folders.ErrFrontMatter)
	}
	tooLong := frontMatterCase{"too long", "---\nname: " + long + "\n---", "a", ""}
	tooLong.check(t, tooLong.text, folders.ErrTooLarge)
}

// billionLaughs returns YAML whose aliases *a to *z each expand to ten times the one before.
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

// Any SKILL.md that is text and not too large can be bundled under a name, at worst with a warning.
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
			broken := errors.Is(w.Err, folders.ErrFrontMatter)
			if !broken && !errors.Is(w.Err, folders.ErrTooLarge) {
				t.Errorf("warning %v, want ErrFrontMatter or ErrTooLarge", w)
			}
		}
	})
}
