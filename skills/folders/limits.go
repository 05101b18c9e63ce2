package folders

const (
	// MaxKeyDepth is the most segments in a key, and so the greatest depth of a skill below its
	// root.
	MaxKeyDepth = 5

	// MaxFiles is the most supporting files in a bundle, SKILL.md not counted.
	MaxFiles = 256

	// MaxFileSize is the most bytes in a file of a bundle. A larger supporting file is left out. A
	// larger SKILL.md fails the bundle.
	MaxFileSize = 1 << 20

	// MaxBundleSize is the most bytes in all files of a bundle, SKILL.md included.
	MaxBundleSize = 8 << 20

	// MaxFrontMatter is the most bytes of front matter in a SKILL.md. Longer front matter is
	// ignored.
	MaxFrontMatter = 64 << 10

	// MaxPathLength is the most bytes in a key and in the path of a supporting file.
	MaxPathLength = 1024
)

// These limits bound the work: a root may link to a whole disk, and a skill may contain any number
// of files that its bundle leaves out.
const (
	maxFolders = 10_000 // below one root, links included
	maxEntries = 10_000 // in one folder between a root and a skill; in a whole skill
)
