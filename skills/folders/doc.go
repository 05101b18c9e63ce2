// Package folders is what a runtime does with the skills on its disk, and a server with the ones it
// is sent: it lists the skill folders, reads one into a [skills.Bundle], and writes a bundle into a
// new folder.
//
//	roots, err := folders.DefaultRoots()
//	...
//	list, warnings, err := folders.Discover(ctx, roots)                 // answers a skills.List
//	bundle, warnings, err := folders.Bundle(ctx, roots, "release-notes") // answers a skills.Import
//	...
//	left, err := folders.Unpack(filepath.Join(parent, "release-notes"), bundle) // elsewhere
//
// A skill is a folder with a SKILL.md in it, at most [MaxKeyDepth] folders below a [Root]; its key
// is its path below that root. Everything else in it, nested folders included, are its supporting
// files, so a skill is never searched for further skills. A root's own SKILL.md makes no skill.
//
// Between a root and a skill, links to folders are followed, each real folder once, real folders
// before links. Inside a skill nothing is followed but a SKILL.md that links to a regular file.
// Hidden entries, licence files and folders such as node_modules are skipped. So is a supporting
// file that a bundle cannot carry: a link, a device, not text, over [MaxFileSize]. One that cannot
// be read fails its whole skill.
//
// Nothing is left out in silence: each thing that is not in an answer is a [Warning] beside it.
//
// Neither folders nor bundles are trusted: reads and writes stay in their folder ([os.Root]), never
// block on a pipe, and stop at the limits below. No error carries what a file says.
package folders
