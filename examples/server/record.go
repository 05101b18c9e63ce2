package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pendingq/pendingq/skills"
)

// recordFile is the file of a skill's record, on its shelf.
const recordFile = "skill.json"

// record is a skill without its files.
type record struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	RequestID string    `json:"request_id"` // the request that created the skill
	Versions  []version `json:"versions"`   // oldest first; the last one is current
}

// version is the result of one import.
type version struct {
	RequestID   string    `json:"request_id"` // also the name of the folder with its files
	Description string    `json:"description"`
	Origin      origin    `json:"origin"`
	SavedAt     time.Time `json:"saved_at"`
}

// origin says where an imported skill comes from. It becomes the skill's Config.
type origin struct {
	RuntimeID  string `json:"runtime_id"`
	Provider   string `json:"provider"`
	SourcePath string `json:"source_path"`
}

func (r record) exists() bool { return r.ID != "" }

// version returns the index of a request's version, or -1.
func (r record) version(requestID string) int {
	return slices.IndexFunc(r.Versions, func(v version) bool { return v.RequestID == requestID })
}

// readRecord reads the record on a shelf. It returns an empty record if the shelf has no skill.
func readRecord(shelf string) (record, error) {
	var rec record
	text, err := os.ReadFile(filepath.Join(shelf, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(text, &rec); err != nil {
		return rec, fmt.Errorf("read %s: %w", filepath.Join(shelf, recordFile), err)
	}
	return rec, nil
}

// writeRecord replaces a record as a whole. The new record is on the disk before it replaces the
// old one, so a power loss leaves one of the two.
func writeRecord(shelf string, rec record) error {
	text, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.Create(filepath.Join(shelf, "."+recordFile))
	if err != nil {
		return err
	}
	_, err = temp.Write(append(text, '\n'))
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), filepath.Join(shelf, recordFile))
}

// skillSpace is the namespace of the ids of skills and files.
var skillSpace = uuid.NewSHA1(uuid.NameSpaceURL,
	[]byte("https://github.com/pendingq/pendingq/examples/server"))

// skillID returns the id of the skill with this name.
func skillID(name string) string { return uuid.NewSHA1(skillSpace, []byte(name)).String() }

// shelfName returns a folder name that every file system accepts. It has the letters and digits of
// the skill's name, for people, and the skill's id, which makes it unique.
func shelfName(name, id string) string {
	const most = 40
	isOther := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	words := strings.FieldsFunc(strings.ToLower(name), isOther)
	slug := strings.Join(words, "-")
	slug = strings.TrimRight(slug[:min(len(slug), most)], "-")
	if slug == "" {
		slug = "skill"
	}
	return slug + "-" + id
}

// load reads a version of a skill as it was saved.
func load(shelf string, rec record, requestID string) (skills.Skill, error) {
	v := rec.Versions[rec.version(requestID)]
	config, err := json.Marshal(v.Origin)
	if err != nil {
		return skills.Skill{}, err
	}
	s := skills.Skill{ID: rec.ID, WorkspaceID: workspace, Name: rec.Name,
		Description: v.Description, Config: config, Files: []skills.SkillFile{},
		CreatedBy: rec.CreatedBy, CreatedAt: rec.CreatedAt, UpdatedAt: v.SavedAt}
	dir := os.DirFS(filepath.Join(shelf, requestID))
	err = fs.WalkDir(dir, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := fs.ReadFile(dir, path)
		if path == skillFile {
			s.Content = string(content)
			return err
		}
		id := uuid.NewSHA1(skillSpace, []byte(rec.ID+"/"+path)).String()
		s.Files = append(s.Files, skills.SkillFile{ID: id, SkillID: rec.ID, Path: path,
			Content: string(content), CreatedAt: v.SavedAt, UpdatedAt: v.SavedAt})
		return err
	})
	if err != nil {
		return skills.Skill{}, fmt.Errorf("read a saved skill: %w", err)
	}
	return s, nil
}

const (
	skillFile = "SKILL.md"
	workspace = "default" // the only workspace of this server
)
