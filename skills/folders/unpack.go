package folders

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/pendingq/pendingq/skills"
)

// Unpack writes a bundle into the new folder dir: Content as SKILL.md, and its Files. A file that
// starts with #! becomes executable. The parent folder of dir must exist. The other fields of the
// bundle are not written.
//
// A file is left out with a Warning, and the other files are written, for one of these reasons:
// [Tidy] drops its path, the path lies in a .git folder, this disk cannot hold the path beside the
// other files, or the content is not text. Any other error of the disk fails Unpack.
//
// Unpack is atomic: it writes the files into a hidden folder beside dir, .unpack- and random
// letters, and then renames that folder. Only a crash leaves the hidden folder behind.
//
// The error is ErrTooLarge for a bundle over the limits, ErrNotText for its SKILL.md, or ErrExists
// if dir exists already. Unpack trusts dir. A caller that makes dir from a received key or name has
// to check the key or name first.
func Unpack(dir string, b skills.Bundle) ([]Warning, error) {
	err := cmp.Or(CheckSize(b), checkText(b.Content))
	var left []Warning
	if err == nil {
		b, left = Tidy(b)
		left, err = unpack(filepath.Clean(dir), b, left)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack skill into %q: %w", dir, err)
	}
	return left, nil
}

func unpack(dir string, b skills.Bundle, left []Warning) ([]Warning, error) {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	name := filepath.Base(dir)
	if _, err := parent.Lstat(name); err == nil {
		return nil, ErrExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	temp := ".unpack-" + rand.Text()
	left, err = writeBundle(parent, temp, b, left)
	if err == nil {
		err = rename(parent, temp, name)
	}
	if err != nil {
		return nil, errors.Join(err, parent.RemoveAll(temp))
	}
	return left, nil
}

// rename returns ErrExists if the folder was made by someone else in the meantime.
func rename(parent *os.Root, from, to string) error {
	err := parent.Rename(from, to)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	return err
}

func writeBundle(
	parent *os.Root, temp string, b skills.Bundle, left []Warning) ([]Warning, error) {
	if err := parent.Mkdir(temp, 0o755); err != nil {
		return nil, err
	}
	dir, err := parent.OpenRoot(temp)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := writeFile(dir, skillFile, b.Content); err != nil {
		return nil, err
	}
	for _, f := range b.Files {
		why, err := tryFile(dir, f)
		if err != nil {
			return nil, err
		}
		if why != nil {
			left = append(left, Warning{Path: f.Path, Err: why})
		}
	}
	return left, nil
}

// tryFile writes a supporting file, or returns the reason why the file is left out.
func tryFile(dir *os.Root, f skills.BundleFile) (why, err error) {
	switch {
	case !filepath.IsLocal(filepath.FromSlash(f.Path)), hasBackslash(f.Path):
		return ErrUnstorable, nil
	case slices.ContainsFunc(strings.Split(f.Path, "/"), dotGit):
		return fmt.Errorf("%w: in a .git folder", ErrSkipped), nil
	case checkText(f.Content) != nil:
		return checkText(f.Content), nil
	}
	err = writeFile(dir, f.Path, f.Content)
	if unstorable(err) {
		return fmt.Errorf("%w: %w", ErrUnstorable, err), nil
	}
	return nil, err
}

// hasBackslash reports whether a path has a backslash that separates folders on this system. Other
// systems allow it in a name.
func hasBackslash(p string) bool { return filepath.Separator == '\\' && strings.Contains(p, `\`) }

// unstorable reports whether an error is about the name of a file. Otherwise the disk has a
// problem.
func unstorable(err error) bool {
	const windowsInvalidName = syscall.Errno(123)
	for _, about := range []error{fs.ErrExist, fs.ErrInvalid, syscall.EINVAL, syscall.ENAMETOOLONG,
		syscall.ENOTDIR, syscall.EISDIR, syscall.EILSEQ} {
		if errors.Is(err, about) {
			return true
		}
	}
	return runtime.GOOS == "windows" && errors.Is(err, windowsInvalidName)
}

// writeFile makes a new file. It uses O_EXCL, since a file system may treat two names as equal:
// names that differ in letter case, or in the encoding of an accent.
func writeFile(dir *os.Root, name, content string) error {
	if err := dir.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}
