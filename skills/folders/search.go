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
)

// folder is a folder at or below a root.
type folder struct {
	root Root
	key  string // its path below the root; "" for the root itself
	path string // below Root.Path, may contain links
	real string // path with all links resolved; "" until the search follows the link
}

func (f folder) warning(err error) Warning {
	return Warning{Key: f.key, Path: display(f.path), Err: err}
}

// search finds the skill folders below the roots, sorted by key. If several folders have the same
// key, it returns the folder of the first root.
func search(ctx context.Context, roots []Root) ([]folder, []Warning, error) {
	var found []folder
	var warnings []Warning
	taken := map[string]folder{} // by key
	for _, root := range roots {
		s, err := searchRoot(ctx, root)
		if err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, s.warnings...)
		for _, f := range s.found {
			first, ok := taken[f.key]
			if !ok {
				taken[f.key] = f
				found = append(found, f)
			} else if f.real != first.real {
				err := fmt.Errorf("%w: an earlier root has %s", ErrSkipped, display(first.path))
				warnings = append(warnings, f.warning(err))
			}
		}
	}
	slices.SortFunc(found, func(a, b folder) int { return cmp.Compare(a.key, b.key) })
	return found, warnings, nil
}

// rootSearch is the state of a search below one root.
type rootSearch struct {
	top      folder
	folders  []folder          // still to be searched
	links    []folder          // to be followed after all folders
	met      int               // all folders and links so far
	visited  map[string]string // folder.path for people, by folder.real
	found    []folder
	warnings []Warning
}

func searchRoot(ctx context.Context, root Root) (*rootSearch, error) {
	if !filepath.IsAbs(root.Path) {
		return nil, fmt.Errorf("search the skills of provider %q: root %q is not absolute",
			root.Provider, display(root.Path))
	}
	top := folder{root: root, path: filepath.Clean(root.Path)}
	s := &rootSearch{top: top, visited: map[string]string{}}
	if _, err := os.Lstat(top.path); !errors.Is(err, fs.ErrNotExist) {
		s.links = []folder{top}
	} else if !wellKnownRoot(root) {
		return nil, fmt.Errorf("search the skills of provider %q: root %q does not exist: %w",
			root.Provider, display(root.Path), fs.ErrNotExist)
	}
	for len(s.folders)+len(s.links) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.step()
	}
	return s, nil
}

// step searches one folder. Links come after all folders, so that a real folder wins over the links
// to it.
func (s *rootSearch) step() {
	var f folder
	var err error
	if len(s.folders) > 0 {
		f, s.folders = s.folders[0], s.folders[1:]
	} else {
		f, s.links = s.links[0], s.links[1:]
		f.real, err = follow(f.path)
	}
	switch {
	case err == errNotFolder && f.key != "":
		return // a link to a file, which is no skill
	case err == nil && s.visited[f.real] != "":
		s.warnings = append(s.warnings, f.warning(
			fmt.Errorf("%w: the same folder as %s", ErrSkipped, s.visited[f.real])))
	case err == nil:
		s.visited[f.real] = display(f.path)
		err = s.visit(f)
	}
	if err != nil {
		s.warn(f, err)
	}
}

func (s *rootSearch) warn(f folder, err error) {
	s.warnings = append(s.warnings, f.warning(fmt.Errorf("search folder: %w", withoutPath(err))))
}

var errNotFolder = errors.New("not a folder")

// follow resolves a link to a folder.
func follow(link string) (real string, err error) {
	if real, err = filepath.EvalSymlinks(link); err != nil {
		return "", err
	}
	info, err := os.Stat(real)
	if err == nil && !info.IsDir() {
		err = errNotFolder
	}
	return real, err
}

// visit adds f to the skill folders, or notes the folders in f.
func (s *rootSearch) visit(f folder) error {
	dir, err := os.OpenRoot(f.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, err := dir.Lstat(skillFile); err == nil && f.key != "" {
		s.found = append(s.found, f)
		return nil
	}
	entries, err := readDir(dir, ".")
	for _, e := range entries {
		s.note(f, e)
	}
	return err
}

// note notes a folder or a link, to be searched later.
func (s *rootSearch) note(parent folder, e fs.DirEntry) {
	name := e.Name()
	link := e.Type()&fs.ModeSymlink != 0
	if !e.IsDir() && !link {
		return
	}
	child := folder{root: parent.root, key: path.Join(parent.key, name),
		path: filepath.Join(parent.path, name)}
	if err := whyNotSearched(child, e); err != nil {
		s.warnings = append(s.warnings, child.warning(err))
		return
	}
	if s.met++; s.met > maxFolders {
		if s.met == maxFolders+1 {
			s.warn(s.top, fmt.Errorf("%w: more than %d folders; the others are left out",
				ErrTooLarge, maxFolders))
		}
		return
	}
	if link {
		s.links = append(s.links, child)
		return
	}
	child.real = filepath.Join(parent.real, name)
	s.folders = append(s.folders, child)
}

// whyNotSearched returns the reason why a folder is not searched, or nil.
func whyNotSearched(f folder, e fs.DirEntry) error {
	if err := whySkipped(e); err != nil {
		return err
	}
	if depth(f.key) > MaxKeyDepth {
		return fmt.Errorf("%w: more than %d folders below its root", ErrTooDeep, MaxKeyDepth)
	}
	return checkKey(f.key)
}
