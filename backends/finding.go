package backends

import "strconv"

// Severity says how much a [Finding] matters.
type Severity int

// The severities, the least severe first.
const (
	SeverityInfo    Severity = iota // worth knowing
	SeverityWarning                 // works now, but may later lose requests or delay waiters
	SeverityProblem                 // does not work, or loses requests
)

// String returns "info", "warning" or "problem", and for another severity its number.
func (s Severity) String() string {
	switch s {
	case SeverityInfo:
		return "info"
	case SeverityWarning:
		return "warning"
	case SeverityProblem:
		return "problem"
	}
	return "severity " + strconv.Itoa(int(s))
}

// MarshalText implements [encoding.TextMarshaler] with String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one result of a backend's Diagnose function, about a client or one of its servers.
type Finding struct {
	Severity Severity `json:"severity"`
	Server   string   `json:"server,omitempty"` // its address; "" for a finding about the client
	Subject  string   `json:"subject"`          // such as "eviction"; the same in every call
	Text     string   `json:"text"`
	Advice   string   `json:"advice,omitempty"` // how to solve the problem
}

// Compare sorts findings by severity, the most severe first, with [slices.SortStableFunc].
func (f Finding) Compare(other Finding) int { return int(other.Severity - f.Severity) }
