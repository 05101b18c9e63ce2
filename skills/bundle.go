package skills

// Bundle is a whole skill as a runtime reports it: the text of its SKILL.md and of its supporting files.
// It is what an import moves from the runtime's disk to the server.
type Bundle struct {
	Name        string       `json:"name"`
	Description string       `json:"description"`
	Content     string       `json:"content"`     // SKILL.md, front matter included
	SourcePath  string       `json:"source_path"` // the skill's folder, from ~ where it lies in the home folder
	Provider    string       `json:"provider"`    // whose skill it is, e.g. "claude"
	Files       []BundleFile `json:"files"`       // beside SKILL.md, sorted by path
}

// BundleFile is a supporting file of a Bundle.
type BundleFile struct {
	Path    string `json:"path"` // below the skill's folder, parted by /
	Content string `json:"content"`
}
