package folders

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pendingq/pendingq/skills"
)

// Tidy returns a bundle in the form that a server keeps. It removes NUL from all texts and cleans
// the paths of files: "./a//b.md" becomes "a/b.md". It drops a file whose path is empty, absolute
// or too long, is not UTF-8, has a control character, leads out of the skill, or equals SKILL.md or
// the path of an earlier file. The warnings name the dropped files and the reasons. Tidy does not
// check whether a disk can hold the files; [Unpack] does.
func Tidy(b skills.Bundle) (skills.Bundle, []Warning) {
	texts := []*string{&b.Name, &b.Description, &b.Content, &b.SourcePath, &b.Provider}
	for _, text := range texts {
		*text = withoutNUL(*text)
	}
	var warnings []Warning
	files, taken := make([]skills.BundleFile, 0, len(b.Files)), map[string]bool{}
	for _, f := range b.Files {
		f.Path, f.Content = withoutNUL(f.Path), withoutNUL(f.Content)
		clean := path.Clean(f.Path)
		fault := filePathFault(f.Path)
		if fault == "" && taken[clean] {
			fault = "is the path of an earlier file"
		}
		if fault != "" {
			shown := f.Path[:min(len(f.Path), MaxPathLength)]
			warnings = append(warnings, Warning{Path: strings.ToValidUTF8(shown, "?"),
				Err: fmt.Errorf("%w: it %s", ErrInvalidPath, fault)})
			continue
		}
		taken[clean] = true
		f.Path = clean
		files = append(files, f)
	}
	b.Files = files
	return b, warnings
}

func withoutNUL(text string) string { return strings.ReplaceAll(text, "\x00", "") }

// filePathFault returns the reason why a path is not valid for a supporting file, on any system,
// or "".
func filePathFault(p string) string {
	slashed := strings.ReplaceAll(p, `\`, "/")
	clean := path.Clean(slashed)
	switch {
	case p == "" || clean == ".":
		return "is empty"
	case len(p) > MaxPathLength:
		return fmt.Sprintf("is longer than %d bytes", MaxPathLength)
	case !utf8.ValidString(p):
		return "is not UTF-8"
	case strings.ContainsFunc(p, unicode.IsControl):
		return "has a control character"
	case path.IsAbs(slashed) || len(slashed) > 2 && slashed[1] == ':' && slashed[2] == '/':
		return "is absolute"
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "leads out of the skill"
	case strings.EqualFold(clean, skillFile):
		return "is the path of " + skillFile
	}
	return ""
}

// CheckSize returns [ErrTooLarge] if a bundle is over the limits on the number and the size of
// files. It is for a server that stores what a runtime reports.
func CheckSize(b skills.Bundle) error {
	if err := checkSize(len(b.Files), len(b.Content)); err != nil {
		return err
	}
	size := 0
	all := append([]skills.BundleFile{{Path: skillFile, Content: b.Content}}, b.Files...)
	for _, f := range all {
		if len(f.Content) > MaxFileSize {
			return fmt.Errorf("%.100q: %w: over %d bytes", f.Path, ErrTooLarge, MaxFileSize)
		}
		size += len(f.Content)
	}
	return checkSize(len(b.Files), size)
}
