package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// library keeps imported skills in a folder that the servers of a machine share:
//
//	<name>-<skill id>/skill.json       what the skill is, and its versions, the last of which counts
//	<name>-<skill id>/<request id>/    the files of a version, as the runtime has them
//
// A save unpacks its version and then renames a new skill.json over the old one. That is the moment
// that counts: a server that is killed before it has saved nothing, and after it has saved all. The
// files of a version that no skill.json lists are what a kill has left, and the next save of that
// skill removes them.
//
// A skill's id follows from its name, so that two skills of one name would be the same folder.
type library struct {
	dir    string
	lock   *folderLock // held by who changes anything
	logger *slog.Logger
}

// openLibrary makes the folder if it is not there.
func openLibrary(dir string, logger *slog.Logger) (*library, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := newFolderLock(filepath.Join(dir, ".lock"))
	if err != nil {
		return nil, err
	}
	return &library{dir: dir, lock: lock, logger: logger}, nil
}

// Save implements [skillshttp.Library].
func (l *library) Save(ctx context.Context, s skillshttp.Save) (saved skills.Skill, err error) {
	if err := backends.CheckID(s.RequestID); err != nil { // it becomes the name of a folder
		return saved, fmt.Errorf("save a skill: %w", err)
	}
	err = l.lock.while(ctx, func() error {
		saved, err = l.save(s)
		return err
	})
	return saved, err
}

func (l *library) save(s skillshttp.Save) (skills.Skill, error) {
	shelf, rec, err := l.ofRequest(s.RequestID)
	if err != nil {
		return skills.Skill{}, err
	}
	if shelf == "" {
		if shelf, rec, err = l.place(s); err != nil {
			return skills.Skill{}, err
		}
		if rec, err = l.addVersion(shelf, rec, s); err != nil {
			return skills.Skill{}, fmt.Errorf("save a skill: %w", err)
		}
	}
	return load(shelf, rec, s.RequestID)
}

// ofRequest finds the skill of which a request has saved a version. Shelf is "" if there is none.
func (l *library) ofRequest(requestID string) (shelf string, rec record, err error) {
	return l.find(func(shelf string) (bool, record, error) {
		if _, err := os.Lstat(filepath.Join(shelf, requestID)); err != nil {
			return false, record{}, nil
		}
		rec, err := readRecord(shelf)
		return rec.version(requestID) >= 0, rec, err
	})
}

// place says where a save is to go, and what is there already, or why it may not.
func (l *library) place(s skillshttp.Save) (shelf string, rec record, err error) {
	if s.Overwrite != "" {
		return l.placeOver(s)
	}
	id := skillID(s.Name)
	shelf = filepath.Join(l.dir, shelfName(s.Name, id))
	there, err := readRecord(shelf)
	switch {
	case err != nil:
		return "", record{}, err
	case there.exists():
		return "", record{}, &skillshttp.NameTakenError{Conflict: skills.Conflict{ExistingSkillID: there.ID,
			ExistingCreatedBy: there.CreatedBy, CanOverwrite: there.CreatedBy == s.CreatorID}}
	}
	return shelf, record{ID: id, Name: s.Name, CreatedBy: s.CreatorID, CreatedAt: now(),
		RequestID: s.RequestID}, os.MkdirAll(shelf, 0o755)
}

// placeOver is place for an overwrite. The skill keeps its name, which its id and folder come from.
func (l *library) placeOver(s skillshttp.Save) (string, record, error) {
	shelf, rec, err := l.find(func(shelf string) (bool, record, error) {
		if !strings.HasSuffix(shelf, s.Overwrite) {
			return false, record{}, nil
		}
		rec, err := readRecord(shelf)
		return rec.ID == s.Overwrite, rec, err
	})
	switch {
	case err != nil:
		return "", rec, err
	case shelf == "":
		return "", rec, fmt.Errorf("%w: the skill to overwrite is not there", skillshttp.ErrRefused)
	case rec.CreatedBy != s.CreatorID:
		return "", rec, fmt.Errorf("%w: only its creator may overwrite a skill", skillshttp.ErrRefused)
	case s.Name != rec.Name && s.Name != s.Bundle.Name: // somebody wants it so
		return "", rec, fmt.Errorf("%w: a skill that is overwritten keeps its name", skillshttp.ErrRefused)
	}
	return shelf, rec, nil
}

// find returns the first folder that is the one, with its record.
func (l *library) find(isIt func(shelf string) (bool, record, error)) (string, record, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return "", record{}, err
	}
	for _, e := range entries {
		shelf := filepath.Join(l.dir, e.Name())
		if found, rec, err := isIt(shelf); found || err != nil {
			return shelf, rec, err
		}
	}
	return "", record{}, nil
}

// addVersion puts a version of a skill on its shelf.
func (l *library) addVersion(shelf string, rec record, s skillshttp.Save) (record, error) {
	if err := sweep(shelf, rec); err != nil {
		return rec, err
	}
	left, err := folders.Unpack(filepath.Join(shelf, s.RequestID), s.Bundle)
	if err != nil {
		return rec, err
	}
	for _, w := range left {
		l.logger.Warn("this disk leaves out a file of a skill",
			"request", s.RequestID, "path", w.Path, "error", w.Err)
	}
	rec.Versions = append(rec.Versions, version{RequestID: s.RequestID, Description: s.Description, SavedAt: now(),
		Origin: origin{s.RuntimeID, s.Bundle.Provider, s.Bundle.SourcePath}})
	rec.Versions = rec.Versions[max(0, len(rec.Versions)-keptVersions):]
	if err := writeRecord(shelf, rec); err != nil {
		return rec, err
	}
	_ = sweep(shelf, rec) // the skill is saved; an old version that stays goes with the next one
	return rec, nil
}

// sweep removes from a shelf what its record does not list: what a kill has left, and versions that
// are too old.
func sweep(shelf string, rec record) error {
	entries, err := os.ReadDir(shelf)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != recordFile && rec.version(e.Name()) < 0 {
			err = errors.Join(err, os.RemoveAll(filepath.Join(shelf, e.Name())))
		}
	}
	return err
}

// TakeBack implements [skillshttp.Library]. A skill that has been overwritten since stays.
func (l *library) TakeBack(ctx context.Context, requestID string) error {
	if err := backends.CheckID(requestID); err != nil {
		return fmt.Errorf("take back a skill: %w", err)
	}
	return l.lock.while(ctx, func() error {
		shelf, rec, err := l.ofRequest(requestID)
		if err != nil || shelf == "" || rec.Versions[len(rec.Versions)-1].RequestID != rec.RequestID || rec.RequestID != requestID {
			return err
		}
		if err := os.Remove(filepath.Join(shelf, recordFile)); err != nil { // from here on it is not there
			return err
		}
		return os.RemoveAll(shelf)
	})
}

// now is the time as it will be read again.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// keptVersions is how many versions of a skill are kept. A repeated report finds its own for as
// long.
const keptVersions = 10
