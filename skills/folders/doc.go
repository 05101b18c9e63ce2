// Package folders lists the skills on a disk, reads a skill into a [skills.Bundle], and writes a
// bundle into a new folder. A runtime uses it to answer lists and imports. A server uses it to
// check the bundles that it receives.
//
//	roots, err := folders.DefaultRoots()
//	...
//	list, warnings, err := folders.Discover(ctx, roots)                 // answers a skills.List
//	bundle, warnings, err := folders.Bundle(ctx, roots, "release-notes") // answers a skills.Import
//	...
//	left, err := folders.Unpack(filepath.Join(parent, "release-notes"), bundle) // elsewhere
//
// A skill is a folder with a SKILL.md, at most [MaxKeyDepth] folders below a [Root]. Its key is its
// path below that root. All other files in it, those of nested folders included, are its supporting
// files, so a skill contains no further skills. A root's own SKILL.md makes no skill.
//
// Between a root and a skill, links to folders are followed. Each real folder is visited once, and
// real folders come before links. Inside a skill only a SKILL.md that links to a regular file is
// followed. Hidden entries, licence files and folders such as node_modules are skipped. So is a
// supporting file that a bundle cannot carry: a link, a device, a file that is not text or is over
// [MaxFileSize]. A file that cannot be read fails its whole skill.
//
// For each file, folder or skill that an answer leaves out, there is a [Warning]. A file between a
// root and its skills belongs to no skill, and has no Warning.
//
// Neither folders nor bundles are trusted. Unpack writes only below its folder ([os.Root]). Reads
// never block on a pipe, stop at the limits below, and leave a skill only through a SKILL.md that
// is a link. Such a link may lead to any text file that the process may read, so install skills
// only from authors that you trust. No error quotes the content of a file.
package folders
