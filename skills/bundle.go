package skills

// The limits of a server on the texts of a skill, in bytes.
const (
	MaxKey         = 1024
	MaxName        = 255
	MaxDescription = 8 << 10
	MaxSourcePath  = 4 << 10
	MaxProvider    = 64
	MaxVersion     = 255 // of Update.TargetVersion
)

// Bundle is a whole skill as a runtime reports it: the texts of its SKILL.md and of its supporting
// files. An import moves it from the runtime's disk to the server.
type Bundle struct {
	Name        string       `json:"name"`
	Description string       `json:"description"`
	Content     string       `json:"content"`     // SKILL.md, front matter included
	SourcePath  string       `json:"source_path"` // its folder; from ~ if below the home folder
	Provider    string       `json:"provider"`    // whose skill it is, e.g. "claude"
	Files       []BundleFile `json:"files"`       // without SKILL.md, sorted by path
	Omissions
}

// BundleFile is a supporting file of a Bundle.
type BundleFile struct {
	Path    string `json:"path"` // relative to the skill's folder, with / between its segments
	Content string `json:"content"`
}
