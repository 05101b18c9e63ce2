package folders

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/pendingq/pendingq/skills"
)

// Unpack writes a bundle into the new folder dir: Content as SKILL.md, and its Files. The folder that dir lies in
// must exist. The rest of the bundle is not written, since Content says it.
//
// It happens at once or not at all: the files are written into a hidden folder beside dir, .unpack- and random
// letters, which is then renamed; only a crash in between leaves it there.
//
// A bundle is refused before anything is written: with ErrInvalidPath if a path leads out of dir, is hidden, is one
// that some system cannot hold (a backslash, a drive letter, a control character, CON, a trailing dot or space), is
// SKILL.md, or differs from another in letter case alone, or is another's folder; with ErrTooLarge if it is over the
// limits; with ErrNotText. ErrExists: dir is there already.
//
// Only the bundle is not trusted. A dir made of a key or name that came from elsewhere has to be checked first.
func Unpack(dir string, b skills.Bundle) error {
	err := Check(b)
	if err == nil {
		err = unpack(filepath.Clean(dir), b)
	}
	if err != nil {
		return fmt.Errorf("unpack skill into %q: %w", dir, err)
	}
	return nil
}

// Check returns why Unpack would refuse a bundle wherever it is unpacked, ErrInvalidPath, ErrTooLarge or ErrNotText,
// and nil for a good one. It is for a server that stores what a runtime reports.
func Check(b skills.Bundle) error {
	if err := checkSize(len(b.Files), 0); err != nil {
		return err
	}
	if err := checkText(b.Content); err != nil {
		return fmt.Errorf("%s: %w", skillFile, err)
	}
	taken, size := newPaths(), len(b.Content)
	for i, f := range b.Files {
		err := taken.add(f.Path)
		if err == nil {
			err = checkText(f.Content)
		}
		if err != nil {
			return fmt.Errorf("supporting file %d, %.100q: %w", i+1, f.Path, err)
		}
		size += len(f.Content)
	}
	return checkSize(len(b.Files), size)
}

func unpack(dir string, b skills.Bundle) error {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	name := filepath.Base(dir)
	if _, err := parent.Lstat(name); err == nil {
		return ErrExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temp := ".unpack-" + rand.Text()
	err = writeBundle(parent, temp, b)
	if err == nil {
		err = rename(parent, temp, name)
	}
	if err != nil {
		return errors.Join(err, parent.RemoveAll(temp))
	}
	return nil
}

// rename reports as ErrExists that somebody else made the folder meanwhile.
func rename(parent *os.Root, from, to string) error {
	err := parent.Rename(from, to)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	return err
}

func writeBundle(parent *os.Root, temp string, b skills.Bundle) error {
	if err := parent.Mkdir(temp, 0o755); err != nil {
		return err
	}
	dir, err := parent.OpenRoot(temp)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := writeFile(dir, skillFile, b.Content); err != nil {
		return err
	}
	for _, f := range b.Files {
		if err := writeFile(dir, f.Path, f.Content); err != nil {
			return err
		}
	}
	return nil
}

// writeFile makes a new file. O_EXCL, since a file system may see collisions that paths.add does not, e.g. between
// two ways to write an accent.
func writeFile(dir *os.Root, name, content string) error {
	if err := dir.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}
