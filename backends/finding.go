package backends

// Severity says how much a [Finding] matters.
type Severity int

const (
	SeverityInfo    Severity = iota // worth knowing
	SeverityWarning                 // works, but can lose requests or wait too long one day
	SeverityProblem                 // does not work, or loses requests
)

// String returns "info", "warning" or "problem".
func (s Severity) String() string {
	return [...]string{SeverityInfo: "info", SeverityWarning: "warning", SeverityProblem: "problem"}[s]
}

// MarshalText implements [encoding.TextMarshaler] with String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is what the Diagnose function of a backend found out about a client or one of its servers.
type Finding struct {
	Severity Severity `json:"severity"`
	Server   string   `json:"server,omitempty"` // its address; "" if the finding is about the client
	Subject  string   `json:"subject"`          // e.g. "eviction"; the same from call to call
	Text     string   `json:"text"`
	Advice   string   `json:"advice,omitempty"` // what to do about it
}

// Compare puts the gravest findings first, for [slices.SortStableFunc].
func (f Finding) Compare(other Finding) int { return int(other.Severity - f.Severity) }
