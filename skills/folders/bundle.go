package folders

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pendingq/pendingq/skills"
)

// Bundle reads the skill that Discover lists under key. Its supporting files are sorted by path and
// never nil. The warnings name the files that are left out, and say if the front matter is broken.
//
// It returns ErrInvalidKey for a key that no skill can have. It returns ErrNotFound for an unknown
// key; the warnings then name the folders that could not be searched. It returns ErrTooLarge for a
// bundle over the limits, and ErrNotText or ErrNotRegular for its SKILL.md. Any other error is
// ctx's, about a file that cannot be read, or about a root: see Discover.
func Bundle(ctx context.Context, roots []Root, key string) (skills.Bundle, []Warning, error) {
	b, warnings, err := findBundle(ctx, roots, key)
	if err != nil {
		return skills.Bundle{}, warnings, fmt.Errorf("bundle skill %q: %w", key, err)
	}
	return b, warnings, nil
}

func findBundle(ctx context.Context, roots []Root, key string) (skills.Bundle, []Warning, error) {
	if err := checkKey(key); err != nil {
		return skills.Bundle{}, nil, err
	}
	found, warnings, err := search(ctx, roots)
	if err != nil {
		return skills.Bundle{}, nil, err
	}
	i, ok := slices.BinarySearchFunc(found, key,
		func(f folder, key string) int { return cmp.Compare(f.key, key) })
	if !ok {
		return skills.Bundle{}, warnings, ErrNotFound
	}
	return readBundle(ctx, found[i])
}

// bundler reads one skill folder.
type bundler struct {
	ctx      context.Context
	folder   folder
	root     *os.Root // of folder
	bundle   skills.Bundle
	size     int // bytes in bundle
	entries  int // of all folders so far
	warnings []Warning
}

func readBundle(ctx context.Context, f folder) (skills.Bundle, []Warning, error) {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return skills.Bundle{}, nil, fmt.Errorf("open skill folder: %w", withoutPath(err))
	}
	defer root.Close()
	b := &bundler{ctx: ctx, folder: f, root: root}
	if err := b.readSkillFile(); err != nil {
		return skills.Bundle{}, b.warnings, fmt.Errorf("read %s: %w", skillFile, withoutPath(err))
	}
	if err := b.readFolder("."); err != nil {
		return skills.Bundle{}, b.warnings, err
	}
	slices.SortFunc(b.bundle.Files,
		func(x, y skills.BundleFile) int { return cmp.Compare(x.Path, y.Path) })
	return b.bundle, b.warnings, nil
}

func (b *bundler) readSkillFile() error {
	content, err := readSkillFile(b.root, b.folder.path)
	if err != nil {
		return err
	}
	fm, err := parseFrontMatter(content)
	if err != nil {
		b.warn(skillFile, fmt.Errorf("read %s: %w", skillFile, err))
	}
	fm.name = b.atMost("name", fm.name, skills.MaxName)
	fm.description = b.atMost("description", fm.description, skills.MaxDescription)
	b.size = len(content)
	b.bundle = skills.Bundle{
		Name: cmp.Or(fm.name, path.Base(b.folder.key)), Description: fm.description,
		Content: content, SourcePath: display(b.folder.path), Provider: b.folder.root.Provider,
		Files: []skills.BundleFile{},
	}
	return nil
}

// atMost cuts a field of the front matter to a server's limit.
func (b *bundler) atMost(field, text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	b.warn(skillFile, fmt.Errorf("%w: %s is cut after %d bytes", ErrTooLarge, field, limit))
	return strings.ToValidUTF8(text[:limit], "")
}

func (b *bundler) readFolder(dir string) error {
	entries, err := readDir(b.root, dir)
	if err != nil {
		return fmt.Errorf("read skill folder: %w", withoutPath(err))
	}
	if b.entries += len(entries); b.entries > maxEntries {
		return fmt.Errorf("read skill folder: %w: more than %d entries", ErrTooLarge, maxEntries)
	}
	for _, e := range entries {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		p := path.Join(dir, e.Name())
		why := whySkipped(e)
		switch {
		case p == skillFile:
		case why != nil:
			b.warn(p, why)
		case e.IsDir():
			err = b.readSubfolder(p)
		default:
			err = b.readFile(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readSubfolder reads a folder, unless a bundle can carry no file below it.
func (b *bundler) readSubfolder(p string) error {
	if fault := filePathFault(p + "/x"); fault != "" {
		b.warn(p, fmt.Errorf("left out %q: %w: it %s", p, ErrInvalidPath, fault))
		return nil
	}
	return b.readFolder(p)
}

// whySkipped returns the reason why an entry is left out unread, or nil.
func whySkipped(e fs.DirEntry) error {
	switch {
	case hidden(e.Name()):
		return fmt.Errorf("%w: hidden", ErrSkipped)
	case !e.Type().IsRegular() && isGenerated(e.Name()):
		return fmt.Errorf("%w: a %s folder", ErrSkipped, e.Name())
	case !e.IsDir() && licence(e.Name()):
		return fmt.Errorf("%w: a licence", ErrSkipped)
	}
	return nil
}

// readFile adds a supporting file, or a warning if a bundle cannot carry the file.
func (b *bundler) readFile(p string) error {
	content, err := b.readSupporting(p)
	if leftOut(err) {
		b.warn(p, fmt.Errorf("left out %q: %w", p, err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("read supporting file %q: %w", p, withoutPath(err))
	}
	b.bundle.Files = append(b.bundle.Files, skills.BundleFile{Path: p, Content: content})
	b.size += len(content)
	return checkSize(len(b.bundle.Files), b.size)
}

func (b *bundler) readSupporting(p string) (string, error) {
	if fault := filePathFault(p); fault != "" {
		return "", fmt.Errorf("%w: it %s", ErrInvalidPath, fault)
	}
	return readText(b.root, p)
}

// leftOut reports whether an error means that a bundle cannot carry the file. Any other error means
// that the file could not be read.
func leftOut(err error) bool {
	return errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNotText) ||
		errors.Is(err, ErrNotRegular) || errors.Is(err, ErrInvalidPath)
}

func (b *bundler) warn(p string, err error) {
	full := filepath.Join(b.folder.path, filepath.FromSlash(p))
	b.warnings = append(b.warnings, Warning{Key: b.folder.key, Path: display(full), Err: err})
}

// checkSize refuses a bundle over the limits.
func checkSize(files, size int) error {
	if files > MaxFiles {
		return fmt.Errorf("%w: more than %d supporting files", ErrTooLarge, MaxFiles)
	}
	if size > MaxBundleSize {
		return fmt.Errorf("%w: over %d bytes in all", ErrTooLarge, MaxBundleSize)
	}
	return nil
}
