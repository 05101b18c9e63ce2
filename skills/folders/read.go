package folders

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"
)

// readDir lists a folder below root by name. It reads no more than maxEntries names.
func readDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	dir, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("%w: more than %d entries in a folder", ErrTooLarge, maxEntries)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// readText reads a text file of at most MaxFileSize below root.
func readText(root *os.Root, name string) (string, error) {
	f, err := openRegular(root, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return "", err
	}
	content := string(data)
	return content, checkText(content)
}

// readSkillFile reads the SKILL.md of a folder. It follows a link to a regular file, wherever the
// file lies. Its errors about the link name no path, since a path may contain a user's name.
func readSkillFile(root *os.Root, folder string) (string, error) {
	info, err := root.Lstat(skillFile)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return readText(root, skillFile)
	}
	real, err := filepath.EvalSymlinks(filepath.Join(folder, skillFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: a link that leads to nothing", ErrNotRegular)
	}
	if err != nil {
		return "", fmt.Errorf("%w: a link that cannot be followed", ErrNotRegular)
	}
	target, err := os.OpenRoot(filepath.Dir(real))
	if err != nil {
		return "", fmt.Errorf("%w: a link that cannot be followed", ErrNotRegular)
	}
	defer target.Close()
	return readText(target, filepath.Base(real))
}

// openRegular opens a regular file. It checks the type before it opens the file, since opening a
// device may have effects. It checks again afterwards, in case the file was replaced. With
// O_NONBLOCK it does not block if a pipe has replaced the file.
func openRegular(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotRegular
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = ErrNotRegular
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// checkText refuses content that is too large for a file of a bundle, or is not text.
func checkText(content string) error {
	if len(content) > MaxFileSize {
		return fmt.Errorf("%w: over %d bytes", ErrTooLarge, MaxFileSize)
	}
	if !utf8.ValidString(content) || strings.ContainsRune(content, 0) {
		return ErrNotText
	}
	return nil
}
