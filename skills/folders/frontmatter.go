package folders

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// frontMatter holds the fields of a SKILL.md between a line --- and the next such line.
type frontMatter struct{ name, description string }

// parseFrontMatter returns the fields that it can read. It returns an ErrFrontMatter if it cannot
// read the name or the description. A SKILL.md without front matter is no error.
func parseFrontMatter(content string) (frontMatter, error) {
	text, certain, err := cutFrontMatter(content)
	fm, found, readErr := readFields(text)
	if !certain && !found {
		return frontMatter{}, nil // Markdown: a heading with # and then a horizontal line
	}
	if err == nil {
		err = readErr
	}
	return fm, err
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// cutFrontMatter returns the YAML between the two --- lines, or "" if content does not start with
// such a line. Blank lines and comments may come first. Markdown reads a comment with # as a
// heading, so the rest is not certain to be front matter. If the closing line is missing, the YAML
// ends at the first blank line or heading.
func cutFrontMatter(content string) (text string, certain bool, err error) {
	head := content[:min(len(content), 2*MaxFrontMatter)]
	rest, certain := skipComments(lineEnds.Replace(strings.TrimPrefix(head, "\ufeff")))
	first, rest, _ := strings.Cut(rest, "\n")
	if !isMarker(first) {
		return "", true, nil
	}
	end := 0
	for line := range strings.Lines(rest) {
		if isMarker(line) {
			return rest[:end], certain, nil
		}
		if end += len(line); end > MaxFrontMatter {
			return "", true, fmt.Errorf(
				"%w: %w: over %d bytes", ErrFrontMatter, ErrTooLarge, MaxFrontMatter)
		}
	}
	return beforeBody(rest), certain, fmt.Errorf("%w: no closing --- line", ErrFrontMatter)
}

func isMarker(line string) bool { return strings.TrimRight(line, " \t\n") == "---" }

// skipComments returns the text after blank lines and comments: <!-- --> and lines that start with
// #. Certain is false if it has skipped a line with #.
func skipComments(text string) (rest string, certain bool) {
	certain = true
	for {
		text = strings.TrimLeft(text, " \t\n\ufeff")
		switch {
		case strings.HasPrefix(text, "<!--"):
			_, text, _ = strings.Cut(text, "-->")
		case strings.HasPrefix(text, "#"):
			_, text, _ = strings.Cut(text, "\n")
			certain = false
		default:
			return text, certain
		}
	}
}

// beforeBody returns the lines before the first blank line or heading.
func beforeBody(text string) string {
	end := 0
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			break
		}
		end += len(line)
	}
	return text[:end]
}

// readFields reads the fields of YAML. If the YAML is broken, it reads each field by itself, so
// that an intact field survives an error in another one. Found means that a wanted field exists.
func readFields(text string) (fm frontMatter, found bool, err error) {
	// A Node does not expand aliases, so nested aliases cannot exhaust the memory.
	var doc yaml.Node
	whole := yaml.Unmarshal([]byte(text), &doc)
	switch {
	case whole == nil && len(doc.Content) == 0:
		return fm, false, nil
	case whole == nil:
		return readMapping(doc.Content[0])
	}
	for _, field := range splitFields(text) {
		one, has, fieldErr := readField(field)
		if !has {
			continue
		}
		found = true
		if fieldErr != nil {
			err = fieldErr
		}
		fm.name, fm.description = cmp.Or(one.name, fm.name), cmp.Or(one.description, fm.description)
	}
	if !found {
		err = syntaxError(whole)
	}
	return fm, found, err
}

var fieldStart = regexp.MustCompile(`^["']?[A-Za-z0-9_.-]+["']?\s*:(\s|$)`)

// splitFields splits YAML into its top-level fields by their first lines.
func splitFields(text string) (fields []string) {
	for line := range strings.Lines(text) {
		if fieldStart.MatchString(line) || len(fields) == 0 {
			fields = append(fields, "")
		}
		fields[len(fields)-1] += line
	}
	return fields
}

// readField reads a field by itself. If the field is not valid YAML, its text is taken literally:
// an unquoted colon, bracket, quote or asterisk belongs to it.
func readField(field string) (fm frontMatter, found bool, err error) {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(field), &doc) == nil && len(doc.Content) > 0 {
		return readMapping(doc.Content[0])
	}
	key, text, _ := strings.Cut(field, ":")
	target, found := fm.fields()[strings.Trim(strings.TrimSpace(key), `"'`)]
	if !found {
		return fm, false, nil
	}
	if text = unquote(strings.Join(strings.Fields(text), " ")); checkText(text) != nil {
		return fm, true, fmt.Errorf("%w: %s is not text", ErrFrontMatter, strings.TrimSpace(key))
	}
	*target = text
	return fm, true, nil
}

// unquote removes quotes around a text.
func unquote(text string) string {
	if n := len(text); n > 1 && text[0] == text[n-1] && (text[0] == '"' || text[0] == '\'') {
		return strings.TrimSpace(text[1 : n-1])
	}
	return text
}

// fields returns the wanted fields by name.
func (fm *frontMatter) fields() map[string]*string {
	return map[string]*string{"name": &fm.name, "description": &fm.description}
}

func readMapping(m *yaml.Node) (fm frontMatter, found bool, err error) {
	if m.Kind != yaml.MappingNode {
		return fm, false, fmt.Errorf("%w: not a list of names and values", ErrFrontMatter)
	}
	fields := fm.fields()
	for i := 0; i+1 < len(m.Content); i += 2 {
		field, known := fields[m.Content[i].Value]
		if !known {
			continue
		}
		found = true
		value, ok := scalar(m.Content[i+1])
		if !ok {
			err = fmt.Errorf("%w: %s is not text", ErrFrontMatter, m.Content[i].Value)
			continue
		}
		*field = value
	}
	return fm, found, err
}

// scalar returns a node's text. A number keeps its spelling. It fails if an escape has put a NUL
// into the text.
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

// syntaxError returns an error with the line number of the parser's error. It drops the rest, which
// may quote the file.
func syntaxError(err error) error {
	if line := lineNumber.FindString(err.Error()); line != "" {
		return fmt.Errorf("%w: not valid YAML, %s below the ---", ErrFrontMatter, line)
	}
	return fmt.Errorf("%w: not valid YAML", ErrFrontMatter)
}
