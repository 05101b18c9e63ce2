package folders

const (
	// MaxKeyDepth is the most segments a key has: how far below its root a skill may lie.
	MaxKeyDepth = 5

	// MaxFiles is the most supporting files in a bundle, SKILL.md not counted.
	MaxFiles = 256

	// MaxFileSize is the most bytes in a file of a bundle. A larger supporting file is left out, a
	// larger SKILL.md fails the bundle.
	MaxFileSize = 1 << 20

	// MaxBundleSize is the most bytes in all files of a bundle, SKILL.md included.
	MaxBundleSize = 8 << 20

	// MaxFrontMatter is the most bytes of front matter in a SKILL.md. Longer front matter is not read.
	MaxFrontMatter = 64 << 10

	// MaxPathLength is the most bytes in a key and in the path of a supporting file.
	MaxPathLength = 1024
)

// These bound the work, where the rules above alone do not: a root may link to a whole disk, and a
// skill may hold any number of files that its bundle leaves out.
const (
	maxFolders = 10_000 // below one root, links included
	maxEntries = 10_000 // in one folder between a root and a skill; in a whole skill
)
