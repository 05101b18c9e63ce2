package folders

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// skillFile is the file that makes its folder a skill.
const skillFile = "SKILL.md"

// hidden reports whether a name is hidden, such as .git and .env. Hidden entries are skipped.
func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// licence reports whether a file is a licence. Licences are of no use to an agent and are skipped.
func licence(name string) bool {
	switch stem, ext, _ := strings.Cut(strings.ToLower(name), "."); stem {
	case "license", "licence", "copying":
		return ext == "" || ext == "md" || ext == "txt"
	}
	return false
}

// dotGit reports whether a system may open .git under this name. Windows ignores letter case, and
// dots and spaces at the end, and has the short name git~1. macOS ignores characters of format,
// such as U+200C.
func dotGit(name string) bool {
	visible := func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}
	name = strings.TrimRight(strings.ToLower(strings.Map(visible, name)), ". ")
	return name == ".git" || name == "git~1"
}

// checkKey refuses keys that no skill can have.
func checkKey(key string) error {
	if fault := pathFault(key); fault != "" {
		return fmt.Errorf("%w: it %s", ErrInvalidKey, fault)
	}
	if depth(key) > MaxKeyDepth {
		return fmt.Errorf("%w: it has more than %d segments", ErrInvalidKey, MaxKeyDepth)
	}
	return nil
}

// depth counts the segments of a key. A root's own key, "", has none.
func depth(key string) int {
	if key == "" {
		return 0
	}
	return strings.Count(key, "/") + 1
}

// isGenerated reports whether a folder holds generated or downloaded files. Such folders are
// skipped between a root and its skills, and inside skills.
func isGenerated(name string) bool {
	switch name {
	case "node_modules", "venv", "__pycache__", "target", "dist":
		return true
	}
	return false
}

// pathFault returns the reason why a key is not the path of a folder below a root, or "".
func pathFault(p string) string {
	switch {
	case p == "":
		return "is empty"
	case len(p) > MaxPathLength:
		return fmt.Sprintf("is longer than %d bytes", MaxPathLength)
	case !utf8.ValidString(p):
		return "is not UTF-8"
	case strings.HasPrefix(p, "/") || len(p) > 2 && p[1:3] == ":/":
		return "is absolute"
	}
	for segment := range strings.SplitSeq(p, "/") {
		if fault := segmentFault(segment); fault != "" {
			return fault
		}
	}
	return ""
}

func segmentFault(s string) string {
	switch {
	case s == "":
		return "has an empty segment"
	case s == "." || s == "..":
		return "has a . or .. segment"
	case hidden(s):
		return "has a hidden segment"
	case len(s) > 255:
		return "has a segment of more than 255 bytes"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "has a control character"
	case strings.Contains(s, `\`):
		return `has a \`
	case strings.TrimSpace(s) != s:
		return "has a segment that starts or ends with a space"
	}
	return ""
}
