package folders

import "errors"

// The reasons for an error of this package, and for a Warning; errors.Is tells them apart.
var (
	// ErrNotFound: no root has a skill with this key.
	ErrNotFound = errors.New("no such skill")

	// ErrInvalidKey: the key is no path below a root, e.g. "../x", "/x" or one that is too deep.
	ErrInvalidKey = errors.New("invalid skill key")

	// ErrInvalidPath: the path of a supporting file leads out of its folder, or is no path.
	ErrInvalidPath = errors.New("invalid path")

	// ErrTooLarge: over one of the limits that the message names.
	ErrTooLarge = errors.New("too large")

	// ErrNotText: not UTF-8, or with a NUL.
	ErrNotText = errors.New("not a text file")

	// ErrNotRegular: a link, a folder, a pipe or a device where a file is wanted.
	ErrNotRegular = errors.New("not a regular file")

	// ErrFrontMatter: the front matter of a SKILL.md cannot be understood. It is only ever a Warning.
	ErrFrontMatter = errors.New("broken front matter")

	// ErrSkipped: hidden, a licence, or a folder of the kind of node_modules.
	ErrSkipped = errors.New("skipped")

	// ErrUnstorable: this disk cannot hold a file of this name beside the others.
	ErrUnstorable = errors.New("this disk cannot hold it")

	// ErrTooDeep: a folder that lies deeper below its root than a skill may.
	ErrTooDeep = errors.New("too deep")

	// ErrExists: the folder to unpack into is already there.
	ErrExists = errors.New("already exists")
)

// Warning is something that was left out of an answer, while the rest of it stands.
type Warning struct {
	Key  string // of the skill; "" if it is about no skill
	Path string // the folder or file it is about, from ~ where it lies in the home folder
	Err  error  // what was left out, and why
}
