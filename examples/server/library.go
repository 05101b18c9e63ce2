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
//	<name>-<skill id>/skill.json       the record of the skill, with its versions, the latest last
//	<name>-<skill id>/<request id>/    the files of the version that this request imported
//
// A save unpacks its version and then renames a new skill.json over the old one. The rename commits
// the save: a server that is killed before the rename has saved nothing. A kill may leave files of
// a version that no skill.json lists. The next save of that skill removes them. A power loss may
// cost the last saves their files, since only skill.json is synced to the disk.
//
// The folder of a skill is called a shelf here. A skill's id is derived from its name, so two
// skills with the same name would have the same shelf.
type library struct {
	dir    string
	lock   *folderLock // held for each change
	logger *slog.Logger
}

// openLibrary makes the folder if it does not exist.
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

// ofRequest finds the skill that has a version of this request. Shelf is "" if there is none.
func (l *library) ofRequest(requestID string) (shelf string, rec record, err error) {
	return l.find(func(shelf string) (bool, record, error) {
		if _, err := os.Lstat(filepath.Join(shelf, requestID)); err != nil {
			return false, record{}, nil
		}
		rec, err := readRecord(shelf)
		return rec.version(requestID) >= 0, rec, err
	})
}

// place returns the shelf for a save, and the record of the skill. Without Overwrite both are new.
// It returns an error if the save is not allowed.
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
		conflict := skills.Conflict{ExistingSkillID: there.ID, ExistingCreatedBy: there.CreatedBy,
			CanOverwrite: there.CreatedBy == s.CreatorID}
		return "", record{}, &skillshttp.NameTakenError{Conflict: conflict}
	}
	return shelf, record{ID: id, Name: s.Name, CreatedBy: s.CreatorID, CreatedAt: now(),
		RequestID: s.RequestID}, os.MkdirAll(shelf, 0o755)
}

// placeOver is place for an overwrite. The skill keeps its name, since its id and shelf are derived
// from the name.
func (l *library) placeOver(s skillshttp.Save) (string, record, error) {
	shelf, rec, err := l.find(func(shelf string) (bool, record, error) {
		if !strings.HasSuffix(shelf, s.Overwrite) {
			return false, record{}, nil
		}
		rec, err := readRecord(shelf)
		return rec.ID == s.Overwrite, rec, err
	})
	refused := func(why string) (string, record, error) {
		return "", rec, fmt.Errorf("%w: %s", skillshttp.ErrRefused, why)
	}
	switch {
	case err != nil:
		return "", rec, err
	case shelf == "":
		return refused("the skill to overwrite does not exist")
	case rec.CreatedBy != s.CreatorID:
		return refused("only its creator may overwrite a skill")
	case s.Name != rec.Name && s.Name != s.Bundle.Name: // the requester asked for a new name
		return refused("a skill that is overwritten keeps its name")
	}
	return shelf, rec, nil
}

// find returns the first shelf for which isIt returns true, and its record. It returns "" if there
// is none.
func (l *library) find(isIt func(shelf string) (bool, record, error)) (string, record, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return "", record{}, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
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
		l.logger.Warn("the disk cannot store a file of a skill, so it is left out",
			"request", s.RequestID, "path", w.Path, "error", w.Err)
	}
	rec.Versions = append(rec.Versions, version{RequestID: s.RequestID,
		Description: s.Description, SavedAt: now(),
		Origin: origin{s.RuntimeID, s.Bundle.Provider, s.Bundle.SourcePath}})
	rec.Versions = rec.Versions[max(0, len(rec.Versions)-keptVersions):]
	if err := writeRecord(shelf, rec); err != nil {
		return rec, err
	}
	_ = sweep(shelf, rec) // if this fails, the next save sweeps: this skill is saved
	return rec, nil
}

// sweep removes all files from a shelf that its record does not list: old versions, and versions
// that were never saved because a server was killed.
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

// TakeBack implements [skillshttp.Library]. It keeps a skill that was overwritten after this
// request.
func (l *library) TakeBack(ctx context.Context, requestID string) error {
	if err := backends.CheckID(requestID); err != nil {
		return fmt.Errorf("take back a skill: %w", err)
	}
	return l.lock.while(ctx, func() error {
		shelf, rec, err := l.ofRequest(requestID)
		if err != nil || shelf == "" || rec.RequestID != requestID {
			return err
		}
		if latest := rec.Versions[len(rec.Versions)-1]; latest.RequestID != requestID {
			return nil
		}
		// The removal of the record commits: without a record the skill does not exist.
		if err := os.Remove(filepath.Join(shelf, recordFile)); err != nil {
			return err
		}
		return os.RemoveAll(shelf)
	})
}

// now returns the time with the precision of records.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// keptVersions is how many versions of a skill are kept. A repeated report finds its version among
// them.
const keptVersions = 10
