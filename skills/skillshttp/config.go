package skillshttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/pendingq/pendingq/skills"
)

// Config is what a [Handler] works with.
type Config struct {
	Stores   *skills.Stores // required
	Access   Access         // required
	Library  Library        // required
	Presence Presence       // nil: every runtime counts as online

	// Logger gets a line a request: ids, outcome and duration, never a payload. Default: slog.Default().
	Logger *slog.Logger

	// MaxWaits is how many requests with ?wait= this node holds at a time, MaxRuntimeWaits how many of one runtime;
	// more are answered 429 with Retry-After. Defaults: 20,000 and 100.
	MaxWaits, MaxRuntimeWaits int

	// MaxBody is how large the body of a report may be, in bytes; a larger one is answered 413 and fails its
	// request. All other bodies may have 64 KiB. Default: 64 MiB.
	MaxBody int64

	// BodyTimeout is how long a body may take to arrive, and an answer to be taken. Default: 1 min.
	BodyTimeout time.Duration
}

const (
	defaultMaxWaits        = 20_000
	defaultMaxRuntimeWaits = 100
	defaultMaxBody         = 64 << 20
	maxSmallBody           = 64 << 10
	defaultBodyTimeout     = time.Minute
	maxWait                = time.Minute
)

// withDefaults fills in what was left out, and returns what cannot be.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Stores == nil:
		return c, errors.New("skillshttp: Config.Stores is nil")
	case c.Access == nil:
		return c, errors.New("skillshttp: Config.Access is nil")
	case c.Library == nil:
		return c, errors.New("skillshttp: Config.Library is nil")
	}
	if c.Presence == nil {
		c.Presence = alwaysOnline{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.MaxWaits <= 0 {
		c.MaxWaits = defaultMaxWaits
	}
	if c.MaxRuntimeWaits <= 0 {
		c.MaxRuntimeWaits = defaultMaxRuntimeWaits
	}
	if c.MaxBody <= 0 {
		c.MaxBody = defaultMaxBody
	}
	if c.BodyTimeout <= 0 {
		c.BodyTimeout = defaultBodyTimeout
	}
	return c, nil
}

// Role is what a requester is to a runtime.
type Role int

const (
	RoleNone   Role = iota // may not see it: every answer is the 404 of what does not exist
	RoleMember             // may ping it and list its skills and models
	RoleAdmin              // may also update it
	RoleOwner              // may also import its skills
)

// Requester is who asks something of a runtime.
type Requester struct {
	UserID string // under whose name an import is saved
	Role   Role
}

// Access decides who may do what. It is asked before anything is looked up. Its errors are answered 500 and logged,
// but for ErrRuntimeGone.
type Access interface {
	// Requester returns who a front end's request comes from and what they are to the runtime.
	Requester(r *http.Request, runtimeID string) (Requester, error)

	// Daemon reports whether a request comes from the runtime's own daemon. [ErrRuntimeGone] says that it does, and
	// that the runtime has been deleted: its daemon is to forget it.
	Daemon(r *http.Request, runtimeID string) (bool, error)
}

// ErrRuntimeGone is what [Access.Daemon] returns for a runtime that has been deleted.
var ErrRuntimeGone = errors.New("runtime not found")

// Presence knows which runtimes are online. It has to be shared by all nodes.
type Presence interface {
	// Seen notes a heartbeat.
	Seen(ctx context.Context, runtimeID string) error
	// Online reports whether the runtime had a heartbeat lately.
	Online(ctx context.Context, runtimeID string) (bool, error)
}

type alwaysOnline struct{}

func (alwaysOnline) Seen(context.Context, string) error           { return nil }
func (alwaysOnline) Online(context.Context, string) (bool, error) { return true, nil }

// Library is where imported skills are kept. It has to be shared by all nodes.
type Library interface {
	// Save keeps a skill that a runtime has reported. It is idempotent by RequestID: once a save has succeeded, the
	// same RequestID again returns the skill as it was saved then. It refuses with a [NameTakenError] when it is to
	// create a skill whose name another one has, and with an error that is [ErrRefused] when it cannot be done for
	// a reason that people should read. Any other error is answered 500, and the daemon reports again.
	Save(ctx context.Context, s Save) (skills.Skill, error)

	// TakeBack removes the skill that the save of this request created, if it is still there and nothing else has
	// changed it since.
	TakeBack(ctx context.Context, requestID string) error
}

// Save is a skill to keep. The bundle's paths and sizes have been checked.
type Save struct {
	RequestID   string
	RuntimeID   string
	CreatorID   string // the user whose skill it will be
	Name        string // the user's override, or the bundle's
	Description string // the user's override, or the bundle's
	Bundle      skills.Bundle

	// Overwrite is the id of the skill to replace, which only its creator may do; "" creates one.
	Overwrite string
}

// NameTakenError says that a skill of that name is there already.
type NameTakenError struct{ Conflict skills.Conflict }

func (e *NameTakenError) Error() string { return "a skill with this name already exists" }

// ErrRefused is what a [Library] refuses with; the text of the error that wraps it is shown to people.
var ErrRefused = errors.New("refused")
