package folders

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Root is a folder that contains skill folders.
type Root struct {
	Provider  string // whose skills they are, e.g. "claude"
	Path      string // absolute
	Universal bool   // shared between providers; reported as "universal" instead of "provider"
}

// kind returns the Root of a LocalSkill.
func (r Root) kind() string {
	if r.Universal {
		return "universal"
	}
	return "provider"
}

// wellKnown are the roots in the home folder by priority.
var wellKnown = []Root{
	{Provider: "claude", Path: ".claude/skills"},
	{Provider: "codex", Path: ".codex/skills"},
	{Provider: "copilot", Path: ".copilot/skills"},
	{Provider: "cursor", Path: ".cursor/skills"},
	{Provider: "gemini", Path: ".gemini/skills"},
	{Provider: "opencode", Path: ".config/opencode/skills"},
	{Provider: "universal", Path: ".agents/skills", Universal: true},
}

// DefaultRoots returns the well-known roots in the home folder, whether they exist or not. These
// are the roots of claude, codex, copilot, cursor, gemini and opencode, then ~/.agents/skills,
// whose provider is "universal". Their order is their priority: the first root that has a key wins.
// DefaultRoots fails only if there is no home folder.
//
// A runtime of a single provider uses that provider's root and the last one.
func DefaultRoots() ([]Root, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find the skill roots: %w", err)
	}
	roots := make([]Root, len(wellKnown))
	for i, r := range wellKnown {
		r.Path = filepath.Join(home, filepath.FromSlash(r.Path))
		roots[i] = r
	}
	return roots, nil
}

// wellKnownRoot reports whether a root is one of DefaultRoots, which need not exist.
func wellKnownRoot(r Root) bool {
	roots, err := DefaultRoots()
	return err == nil && slices.Contains(roots, r)
}

// display returns a path for a report. A path below the home folder starts with ~, so that the
// user's name stays private.
func display(path string) string {
	home, err := os.UserHomeDir()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(home, path)
	if err != nil || !filepath.IsLocal(rel) {
		return path
	}
	return filepath.ToSlash(filepath.Join("~", rel))
}

// withoutPath removes the path from an error of package os, for a report. A path may contain the
// user's name.
func withoutPath(err error) error {
	var about *fs.PathError
	if errors.As(err, &about) {
		return fmt.Errorf("%s: %w", about.Op, about.Err)
	}
	return err
}
