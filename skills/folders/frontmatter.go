package folders

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// frontMatter is what a SKILL.md says of itself between its first line, ---, and the next such line.
type frontMatter struct{ name, description string }

// parseFrontMatter returns as much of the front matter as can be understood, with an ErrFrontMatter if that is
// not all. To have none is no error.
func parseFrontMatter(content string) (frontMatter, error) {
	text, err := cutFrontMatter(content)
	if err != nil {
		return frontMatter{}, err
	}
	// A Node leaves aliases as they are, so those that refer to each other cannot blow up.
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return frontMatter{}, syntaxError(err)
	}
	if len(doc.Content) == 0 {
		return frontMatter{}, nil
	}
	return readMapping(doc.Content[0])
}

// cutFrontMatter returns the YAML between the two lines, "" if content does not start with such a line.
func cutFrontMatter(content string) (string, error) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(content, "\ufeff"), "\n")
	if !isMarker(first) {
		return "", nil
	}
	end := 0
	for line := range strings.Lines(rest) {
		if isMarker(line) {
			return rest[:end], nil
		}
		if end += len(line); end > MaxFrontMatter {
			return "", fmt.Errorf("%w: %w: over %d bytes", ErrFrontMatter, ErrTooLarge, MaxFrontMatter)
		}
	}
	return "", fmt.Errorf("%w: no closing --- line", ErrFrontMatter)
}

func isMarker(line string) bool { return strings.TrimRight(line, " \t\r\n") == "---" }

func readMapping(m *yaml.Node) (fm frontMatter, err error) {
	if m.Kind != yaml.MappingNode {
		return fm, fmt.Errorf("%w: not a list of names and values", ErrFrontMatter)
	}
	fields := map[string]*string{"name": &fm.name, "description": &fm.description}
	for i := 0; i+1 < len(m.Content); i += 2 {
		field, known := fields[m.Content[i].Value]
		if !known {
			continue
		}
		value, ok := scalar(m.Content[i+1])
		if !ok {
			err = fmt.Errorf("%w: %s is not text", ErrFrontMatter, m.Content[i].Value)
			continue
		}
		*field = value
	}
	return fm, err
}

// scalar returns a node's text; a number is taken as it is written. An escape may make it what no text file
// can hold.
func scalar(n *yaml.Node) (text string, ok bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode || checkText(n.Value) != nil {
		return "", false
	}
	if n.ShortTag() == "!!null" {
		return "", true
	}
	return strings.TrimSpace(n.Value), true
}

var lineNumber = regexp.MustCompile(`line \d+`)

// syntaxError keeps the line alone of the parser's error, whose text may repeat what the file says.
func syntaxError(err error) error {
	if line := lineNumber.FindString(err.Error()); line != "" {
		return fmt.Errorf("%w: not valid YAML, %s below the ---", ErrFrontMatter, line)
	}
	return fmt.Errorf("%w: not valid YAML", ErrFrontMatter)
}
