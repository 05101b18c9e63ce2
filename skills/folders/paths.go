package folders

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// skillFile is the file that makes its folder a skill.
const skillFile = "SKILL.md"

// hidden is true for names that are passed over, and never unpacked: .git, .env.
func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// licence is true for files that say nothing to an agent and are passed over.
func licence(name string) bool {
	switch stem, ext, _ := strings.Cut(strings.ToLower(name), "."); stem {
	case "license", "licence", "copying":
		return ext == "" || ext == "md" || ext == "txt"
	}
	return false
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

// depth counts the segments of a key; a root's own key, "", has none.
func depth(key string) int {
	if key == "" {
		return 0
	}
	return strings.Count(key, "/") + 1
}

// pathFault says why a path is not one that every system can hold below a folder, or "". The rules are those of
// the strictest system everywhere, so that a bundle means the same wherever it is unpacked.
func pathFault(p string) string {
	switch {
	case p == "":
		return "is empty"
	case len(p) > MaxPathLength:
		return fmt.Sprintf("is longer than %d bytes", MaxPathLength)
	case !utf8.ValidString(p):
		return "is not UTF-8"
	case strings.HasPrefix(p, "/"):
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
	case strings.ContainsAny(s, `\:<>"|?*`):
		return `has one of \ : < > " | ? *`
	case strings.TrimSpace(s) != s || strings.HasSuffix(s, "."):
		return "has a segment that starts or ends with a space, or ends with a dot"
	case reserved(s):
		return "has a name that Windows reserves"
	}
	return ""
}

// reserved is true for the names of devices, which Windows sees whatever their extension: aux.md.
func reserved(name string) bool {
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	stem = strings.TrimSpace(stem)
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, ok := strings.CutPrefix(stem, "COM")
	if !ok {
		port, ok = strings.CutPrefix(stem, "LPT")
	}
	return ok && utf8.RuneCountInString(port) == 1 && strings.Contains("0123456789¹²³", port)
}

// paths are the paths of a bundle and of their folders, by what a file system without letter case sees.
type paths map[string]node

type node struct {
	path   string // as it is spelled
	folder bool
}

// newPaths has SKILL.md taken, which is no supporting file.
func newPaths() paths { return paths{fold(skillFile): {path: skillFile}} }

// add takes the path of a supporting file, unless it is unsafe or would meet another one somewhere: a file
// twice, A and a, or a and a/b.
func (ps paths) add(p string) error {
	if fault := pathFault(p); fault != "" {
		return fmt.Errorf("%w: it %s", ErrInvalidPath, fault)
	}
	var n node
	var folded string
	segments := strings.Split(p, "/")
	for i, segment := range segments {
		n = node{path: path.Join(n.path, segment), folder: i < len(segments)-1}
		folded = path.Join(folded, fold(segment))
		if other, taken := ps[folded]; taken && (other != n || !n.folder) {
			return fmt.Errorf("%w: it collides with %q", ErrInvalidPath, other.path)
		}
		ps[folded] = n
	}
	return nil
}

// fold maps names that differ in letter case alone to the same string. Upper case first, since some letters
// have two lower ones.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }
