package skills

import (
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// List asks a runtime which skills and MCP servers it has, and holds its answer.
type List struct {
	Skills       []LocalSkill `json:"skills,omitempty"`
	Supported    bool         `json:"supported"` // false: the runtime cannot list skills
	MCPServers   []MCPServer  `json:"mcp_servers,omitempty"`
	MCPSupported bool         `json:"mcp_supported"` // true: the answer includes MCPServers
	Omissions
}

// Omissions are the files and folders that a list or a bundle leaves out. All of them are counted,
// and the first [MaxOmissions] are named.
type Omissions struct {
	LeftOut      []Omission `json:"left_out,omitempty"`
	LeftOutCount int        `json:"left_out_count,omitempty"`
}

// MaxOmissions is how many omissions an answer names.
const MaxOmissions = 100

// Omission is a file or folder that was left out.
type Omission struct {
	Key    string `json:"key,omitempty"` // of the skill; "" if it is about no skill
	Path   string `json:"path"`          // from ~ if below the home folder
	Reason string `json:"reason"`
}

// Add adds an omission.
func (o *Omissions) Add(omitted Omission) {
	o.LeftOutCount++
	if len(o.LeftOut) < MaxOmissions {
		o.LeftOut = append(o.LeftOut, omitted)
	}
}

// NewList returns the payload of a new request. Its Supported is true until the runtime denies it.
func NewList() List { return List{Supported: true} }

// LocalSkill describes one skill found on a runtime's disk.
type LocalSkill struct {
	Key         string `json:"key"` // names the skill on its runtime, as in Import.SkillKey
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	SourcePath  string `json:"source_path"` // its folder; from ~ if below the home folder
	Provider    string `json:"provider"`
	Root        string `json:"root,omitempty"` // "provider" or "universal": the kind of its root
	Plugin      string `json:"plugin,omitempty"`
	CanDisable  bool   `json:"can_disable,omitempty"`
	FileCount   int    `json:"file_count"` // SKILL.md included
}

// MCPServer describes one MCP server that a runtime is configured with.
type MCPServer struct {
	Name      string `json:"name"`
	Transport string `json:"transport,omitempty"`
	Source    string `json:"source,omitempty"`
	Enabled   bool   `json:"enabled"`
}

// ListPolicy is the policy of the store of lists of a runtime's skills.
func ListPolicy() pending.Policy {
	return pending.Policy{
		Name: "local_skill:list", PendingTimeout: 3 * time.Minute, RunningTimeout: time.Minute,
		Retention: 5 * time.Minute, MaxPending: 100,
	}
}

// NewListStore makes the store of lists of a runtime's skills.
func NewListStore(b backends.Backend) (*pending.PendingStore[List], error) {
	return newStore[List](b, ListPolicy())
}
