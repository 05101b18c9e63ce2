package folders

import (
	"fmt"
	"path"
	"strings"

	"github.com/pendingq/pendingq/skills"
)

// Tidy returns a bundle as a server keeps it, whatever the disk that it comes from. It removes NUL
// from all texts and cleans the paths of files: "./a//b.md" becomes "a/b.md". It drops a file whose
// path is empty, absolute, too long, leads out of the skill, is that of SKILL.md, or is that of a
// file before it. The warnings say which, and why. Whether a disk can hold a file is for [Unpack].
func Tidy(b skills.Bundle) (skills.Bundle, []Warning) {
	for _, text := range []*string{&b.Name, &b.Description, &b.Content, &b.SourcePath, &b.Provider} {
		*text = withoutNUL(*text)
	}
	var warnings []Warning
	files, taken := make([]skills.BundleFile, 0, len(b.Files)), map[string]bool{}
	for _, f := range b.Files {
		f.Path, f.Content = withoutNUL(f.Path), withoutNUL(f.Content)
		clean := path.Clean(f.Path)
		fault := escape(f.Path)
		if fault == "" && taken[clean] {
			fault = "is that of a file before it"
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

// escape says why a path is not one of a supporting file, on whichever system, or returns "".
func escape(p string) string {
	slashed := strings.ReplaceAll(p, `\`, "/")
	clean := path.Clean(slashed)
	switch {
	case p == "" || clean == ".":
		return "is empty"
	case len(p) > MaxPathLength:
		return fmt.Sprintf("is longer than %d bytes", MaxPathLength)
	case path.IsAbs(slashed) || len(slashed) > 2 && slashed[1] == ':' && slashed[2] == '/':
		return "is absolute"
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "leads out of the skill"
	case strings.EqualFold(clean, skillFile):
		return "is that of " + skillFile
	}
	return ""
}

// CheckSize returns [ErrTooLarge] if a bundle is over the limits on the number and the size of
// files. It is for a server that stores what a runtime reports.
func CheckSize(b skills.Bundle) error {
	if err := checkSize(len(b.Files), len(b.Content)); err != nil {
		return err
	}
	size := len(b.Content)
	for _, f := range append([]skills.BundleFile{{Path: skillFile, Content: b.Content}}, b.Files...) {
		if len(f.Content) > MaxFileSize {
			return fmt.Errorf("%.100q: %w: over %d bytes", f.Path, ErrTooLarge, MaxFileSize)
		}
	}
	for _, f := range b.Files {
		size += len(f.Content)
	}
	return checkSize(len(b.Files), size)
}
