package docs_test

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// document is a Markdown file.
type document struct {
	path  string // relative to this folder
	lines []line
}

// line is a line of a document.
type line struct {
	number int
	text   string
	fence  string // for a line between fences: their language, or "text"
	block  bool   // code: between fences, or indented
	table  bool
}

// documents are all Markdown files except test data and samples.
func documents(t *testing.T) (all []document) {
	for _, file := range files(t) {
		if strings.HasSuffix(file, ".md") && !strings.Contains(file, "sample-skills") {
			all = append(all, newDocument(filepath.Join("..", file), read(t, "../"+file)))
		}
	}
	if len(all) < 10 {
		t.Fatalf("found %d documents only", len(all))
	}
	return all
}

func newDocument(path, text string) document {
	d := document{path: path}
	fence, blank, indented := "", true, false
	for i, l := range strings.Split(text, "\n") {
		if language, ok := strings.CutPrefix(l, "```"); ok {
			if fence != "" {
				fence = ""
			} else {
				fence = cmp.Or(language, "text")
			}
			continue
		}
		code := strings.HasPrefix(l, "    ") && (blank || indented)
		indented = code || indented && l == ""
		blank = l == ""
		d.lines = append(d.lines, line{number: i + 1, text: l, fence: fence,
			block: fence != "" || code, table: strings.HasPrefix(l, "|")})
	}
	return d
}

// prose is the text outside of code blocks.
func (d document) prose() string {
	var b strings.Builder
	for _, l := range d.lines {
		if !l.block {
			b.WriteString(l.text + "\n")
		}
	}
	return b.String()
}

var span = regexp.MustCompile("`([^`]+)`")

// spans are the pieces of code in the text. A line break in one counts as a space.
func (d document) spans() (all []string) {
	for paragraph := range strings.SplitSeq(d.prose(), "\n\n") {
		for _, m := range span.FindAllStringSubmatch(paragraph, -1) {
			all = append(all, strings.Join(strings.Fields(m[1]), " "))
		}
	}
	return all
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)

// anchors are the fragments of links to the headings of a document.
func anchors(t *testing.T, path string) (all []string) {
	for _, l := range newDocument(path, read(t, path)).lines {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(l.text, "#"), " "); ok && !l.block &&
			strings.HasPrefix(l.text, "#") {
			text := notInAnchors.ReplaceAllString(strings.ToLower(heading), "")
			all = append(all, strings.ReplaceAll(text, " ", "-"))
		}
	}
	return all
}

// files are the paths of all files of the repository, from its top. It leaves out test data and
// hidden folders, except .ci and .github.
func files(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		name := e.Name()
		hidden := strings.HasPrefix(name, ".") && name != ".." && name != ".ci" && name != ".github"
		if err == nil && e.IsDir() && (hidden || name == "testdata") {
			return fs.SkipDir
		}
		if err == nil && !e.IsDir() {
			all = append(all, strings.TrimPrefix(filepath.ToSlash(path), "../"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources returns the Go files of a folder, tests left out, as one text.
func sources(t *testing.T, folder string) string {
	return gofiles(t, folder, func(name string) bool {
		return !strings.HasSuffix(name, "_test.go")
	})
}

// gofiles returns the Go files of a folder that a function selects, as one text.
func gofiles(t *testing.T, folder string, selected func(name string) bool) string {
	t.Helper()
	var b strings.Builder
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatalf("%s: %v", folder, err)
	}
	for _, name := range names {
		if selected(name) {
			b.WriteString(read(t, name))
		}
	}
	return b.String()
}
