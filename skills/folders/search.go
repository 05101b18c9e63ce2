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
	path string // where it was found
	real string // path with all links resolved; "" for a link not yet followed
}

func (f folder) warning(err error) Warning {
	return Warning{Key: f.key, Path: display(f.path), Err: err}
}

// search finds the skill folders below the roots, sorted by key, the first root's for each key.
func search(ctx context.Context, roots []Root) ([]folder, []Warning, error) {
	var found []folder
	var warnings []Warning
	taken := map[string]bool{}
	for _, root := range roots {
		s, err := searchRoot(ctx, root)
		if err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, s.warnings...)
		for _, f := range s.found {
			if !taken[f.key] {
				taken[f.key] = true
				found = append(found, f)
			}
		}
	}
	slices.SortFunc(found, func(a, b folder) int { return cmp.Compare(a.key, b.key) })
	return found, warnings, nil
}

// rootSearch is the state of a search below one root.
type rootSearch struct {
	folders  []folder        // still to be searched
	links    []folder        // to be followed once there are no more folders
	visited  map[string]bool // by folder.real
	found    []folder
	warnings []Warning
}

func searchRoot(ctx context.Context, root Root) (*rootSearch, error) {
	if !filepath.IsAbs(root.Path) {
		return nil, fmt.Errorf("search the skills of provider %q: root %q is not absolute", root.Provider, root.Path)
	}
	s := &rootSearch{visited: map[string]bool{}}
	top := folder{root: root, path: filepath.Clean(root.Path)}
	if _, err := os.Lstat(top.path); errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	s.links = []folder{top}
	for len(s.folders)+len(s.links) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(s.visited) == maxFolders {
			err := fmt.Errorf("search skill root: %w: more than %d folders", ErrTooLarge, maxFolders)
			s.warnings = append(s.warnings, top.warning(err))
			break
		}
		s.step()
	}
	return s, nil
}

// step searches one folder, or follows one link.
func (s *rootSearch) step() {
	var f folder
	if len(s.folders) > 0 {
		f, s.folders = s.folders[0], s.folders[1:]
	} else {
		f, s.links = s.links[0], s.links[1:]
		real, isDir, err := follow(f.path)
		if err != nil {
			s.warn(f, err)
		}
		if !isDir && f.key == "" && err == nil {
			s.warn(f, errors.New("not a folder"))
		}
		if !isDir {
			return
		}
		f.real = real
	}
	if s.visited[f.real] {
		return
	}
	s.visited[f.real] = true
	if err := s.visit(f); err != nil {
		s.warn(f, err)
	}
}

func (s *rootSearch) warn(f folder, err error) {
	s.warnings = append(s.warnings, f.warning(fmt.Errorf("search folder: %w", err)))
}

// follow resolves a link and tells whether it leads to a folder.
func follow(link string) (real string, isDir bool, err error) {
	real, err = filepath.EvalSymlinks(link)
	if err != nil {
		return "", false, err
	}
	info, err := os.Stat(real)
	return real, err == nil && info.IsDir(), err
}

// visit takes f as a skill, or puts off what lies in it.
func (s *rootSearch) visit(f folder) error {
	dir, err := os.OpenRoot(f.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := readDir(dir, ".")
	if err != nil {
		return err
	}
	if f.key != "" && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == skillFile }) {
		s.found = append(s.found, f)
		return nil
	}
	if depth(f.key) < MaxKeyDepth {
		for _, e := range entries {
			s.putOff(f, e)
		}
	}
	return nil
}

func (s *rootSearch) putOff(parent folder, e fs.DirEntry) {
	name := e.Name()
	link := e.Type()&fs.ModeSymlink != 0
	if hidden(name) || !e.IsDir() && !link {
		return
	}
	child := folder{root: parent.root, key: path.Join(parent.key, name), path: filepath.Join(parent.path, name)}
	if err := checkKey(child.key); err != nil {
		s.warn(child, err)
		return
	}
	if link {
		s.links = append(s.links, child)
		return
	}
	child.real = filepath.Join(parent.real, name)
	s.folders = append(s.folders, child)
}
