package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pendingq/pendingq/skills/skillshttp"
)

// tokensFile is the file with all tokens and their rights, in YAML or JSON.
type tokensFile struct {
	People  []person      `yaml:"people"`
	Daemons []daemonEntry `yaml:"daemons"`
	Deleted []string      `yaml:"deleted_runtimes"`
}

type person struct {
	User     string          `yaml:"user"`
	Token    secret          `yaml:",inline"`
	Runtimes map[string]role `yaml:"runtimes"`
}

type daemonEntry struct {
	Runtime string `yaml:"runtime"`
	Token   secret `yaml:",inline"`
}

// secret is a token or its hash. With the hash, the file does not reveal the token.
type secret struct {
	Plain  string `yaml:"token"`
	SHA256 string `yaml:"sha256"`
}

const minToken = 16

// digest returns the key of the token in the maps of access.
func (s secret) digest() (d digest, err error) {
	switch {
	case s.Plain != "" && s.SHA256 != "":
		return d, errors.New("it has both a token and a sha256")
	case s.SHA256 != "":
		sum, err := hex.DecodeString(s.SHA256)
		if err != nil || len(sum) != len(d) {
			return d, fmt.Errorf("its sha256 is not %d hex digits", 2*len(d))
		}
		if d = digest(sum); d == digestOf("") {
			return d, errors.New("its sha256 is the sha256 of an empty token")
		}
		return d, nil
	case strings.TrimSpace(s.Plain) != s.Plain:
		return d, errors.New("its token begins or ends with white space")
	case len(s.Plain) < minToken:
		return d, fmt.Errorf("its token has fewer than %d characters", minToken)
	}
	return digestOf(s.Plain), nil
}

// digest is the SHA-256 of a token. Maps of tokens use it as the key, so the time of a look-up
// reveals nothing about a token.
type digest [sha256.Size]byte

func digestOf(token string) digest { return sha256.Sum256([]byte(token)) }

// role is a [skillshttp.Role] by its name.
type role skillshttp.Role

var errRole = errors.New("a role is none of owner, admin and member")

// UnmarshalYAML implements [yaml.Unmarshaler].
func (r *role) UnmarshalYAML(n *yaml.Node) error {
	roles := map[string]skillshttp.Role{
		"member": skillshttp.RoleMember,
		"admin":  skillshttp.RoleAdmin,
		"owner":  skillshttp.RoleOwner,
	}
	known, ok := roles[n.Value]
	if !ok {
		return fmt.Errorf("line %d: %w", n.Line, errRole)
	}
	*r = role(known)
	return nil
}

// readTokens reads a tokens file. Its errors contain no token.
func readTokens(path string) (*access, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f tokensFile
	if err := decodeYAML(text, &f); err != nil {
		return nil, fmt.Errorf("%s is not a tokens file: %w", path, err)
	}
	a, err := f.access()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// decodeYAML decodes a text that has one document and no unknown field. Its errors do not quote the
// text.
func decodeYAML(text []byte, into any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return errors.New(withoutQuotes(err))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("it has more than one document, or text after its end")
	}
	return nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\n *)?(line \d+: )`)

// withoutQuotes returns a text about an error of a YAML decoder, with the number of the line. It
// drops the error's own text, which may quote the file.
func withoutQuotes(err error) string {
	text, line := "not valid YAML", ""
	var wrong *yaml.TypeError
	if errors.Is(err, errRole) {
		return err.Error()
	} else if errors.As(err, &wrong) {
		text = "a field is unknown, is repeated or has a wrong value"
	}
	if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
		line = found[1]
	}
	return line + text
}

// access checks a file and returns the access that it describes.
func (f tokensFile) access() (*access, error) {
	a := &access{people: map[digest]person{}, daemons: map[digest]string{},
		deleted: map[string]bool{}}
	known := map[digest]bool{}
	for i, p := range f.People {
		d, err := p.Token.digest()
		err = errors.Join(err, name("user", p.User), unique(known, d, err))
		if err != nil {
			return nil, fmt.Errorf("people, entry %d: %w", i+1, err)
		}
		a.people[d] = p
	}
	for i, entry := range f.Daemons {
		d, err := entry.Token.digest()
		err = errors.Join(err, name("runtime", entry.Runtime), unique(known, d, err))
		if err != nil {
			return nil, fmt.Errorf("daemons, entry %d: %w", i+1, err)
		}
		a.daemons[d] = entry.Runtime
	}
	for _, runtimeID := range f.Deleted {
		a.deleted[runtimeID] = true
	}
	if len(known) == 0 {
		return nil, errors.New("it has no tokens")
	}
	return a, nil
}

func name(what, text string) error {
	if text == "" {
		return fmt.Errorf("it has no %s", what)
	}
	return nil
}

// unique refuses a token that another entry has. Err is the error of reading the token.
func unique(known map[digest]bool, d digest, err error) error {
	if err == nil && known[d] {
		return errors.New("another entry has the same token")
	}
	known[d] = true
	return nil
}
