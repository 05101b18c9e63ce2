package folders

import "errors"

// The reasons for an error or a Warning of this package, for use with errors.Is.
var (
	// ErrNotFound: no root has a skill with this key.
	ErrNotFound = errors.New("no such skill")

	// ErrInvalidKey: the key is not a path below a root, e.g. "../x" or "/x", or is too deep.
	ErrInvalidKey = errors.New("invalid skill key")

	// ErrInvalidPath: the path of a supporting file is invalid or leads out of its folder.
	ErrInvalidPath = errors.New("invalid path")

	// ErrTooLarge: over a limit, which the message names.
	ErrTooLarge = errors.New("too large")

	// ErrNotText: the file is not UTF-8, or contains a NUL.
	ErrNotText = errors.New("not a text file")

	// ErrNotRegular: a link, a folder, a pipe or a device instead of a file.
	ErrNotRegular = errors.New("not a regular file")

	// ErrFrontMatter: the front matter of a SKILL.md is broken. It is always a Warning.
	ErrFrontMatter = errors.New("broken front matter")

	// ErrSkipped: a hidden entry, a licence, a folder such as node_modules, a folder that was
	// searched before, a skill whose key an earlier root has, or in Unpack a file below .git.
	ErrSkipped = errors.New("skipped")

	// ErrUnstorable: this disk cannot hold a file of this name beside the other files.
	ErrUnstorable = errors.New("this disk cannot hold it")

	// ErrTooDeep: the folder lies deeper below its root than a skill may.
	ErrTooDeep = errors.New("too deep")

	// ErrExists: the folder to unpack into exists already.
	ErrExists = errors.New("already exists")
)

// Warning is a folder or file that an answer leaves out, or a skill whose front matter is broken or
// has a field that was cut.
type Warning struct {
	Key  string // of the skill; "" if the warning is not about a skill
	Path string // of the folder or file; from ~ if below the home folder
	Err  error  // the reason
}
