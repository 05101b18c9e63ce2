package skillshttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/wire"
)

// Config is what a [Handler] works with.
type Config struct {
	Stores   *skills.Stores // required
	Access   Access         // required
	Library  Library        // required
	Presence Presence       // nil: every runtime counts as online

	// Logger gets a line a request: ids, outcome and duration, never a payload. Default:
	// slog.Default().
	Logger *slog.Logger

	// Catalogue remembers the models of each runtime, so that most questions for them are answered
	// at once. All nodes have to share it. Default: nil, which asks the runtime each time.
	Catalogue Catalogue

	// MaxWaits is how many GETs with ?wait= this node holds at a time, and how many heartbeats
	// beside them. MaxRuntimeWaits is the same for one runtime, and MaxCallerWaits how many GETs of
	// one user it holds. One user may also hold no more than half of a runtime's. Another GET is
	// answered 429 with Retry-After. Another heartbeat claims at once, without a wait.
	// Defaults: 20,000, 100 and 1,000.
	MaxWaits, MaxRuntimeWaits, MaxCallerWaits int

	// MaxBody is how large the body of a report may be, in bytes. A larger one is answered 413, and
	// its request fails. All other bodies may have 64 KiB. Default: 32 MiB.
	MaxBody int64

	// MaxBytes is how many bytes of report bodies this node holds at a time, and how many of large
	// answers. A runtime's reports, and a user's answers, may have half of it. A report waits for
	// its turn, up to CallTime, and is then answered 503. An answer that finds no room is replaced
	// by a 429 at once. One alone always has room. Default: 64 MiB.
	MaxBytes int64

	// BodyTimeout is how long the body of a report may take to arrive, and half of how long an
	// answer may take. Each 64 KiB of a body, and each 256 KiB of an answer, have 10 s of it, and
	// so has any other body. Default: 1 min.
	BodyTimeout time.Duration

	// HeartbeatTime is how long a heartbeat's look for work may take. If the stores are slower, or
	// fail, the answer is without work, and the log has a warning. Default: 2 s.
	HeartbeatTime time.Duration

	// CallTime is how long the stores, Access and Presence may take for any other answer. Default:
	// 10 s.
	CallTime time.Duration
}

const (
	defaultMaxWaits        = 20_000
	defaultMaxRuntimeWaits = 100
	defaultMaxCallerWaits  = 1000
	defaultMaxBody         = 32 << 20
	defaultMaxBytes        = 64 << 20
	maxSmallBody           = 64 << 10
	defaultBodyTimeout     = time.Minute
	defaultHeartbeatTime   = 2 * time.Second
	defaultCallTime        = 10 * time.Second
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
	c.MaxWaits = or(c.MaxWaits, defaultMaxWaits)
	c.MaxRuntimeWaits = or(c.MaxRuntimeWaits, defaultMaxRuntimeWaits)
	c.MaxCallerWaits = or(c.MaxCallerWaits, defaultMaxCallerWaits)
	c.MaxBody = or(c.MaxBody, defaultMaxBody)
	c.MaxBytes = or(c.MaxBytes, defaultMaxBytes)
	c.BodyTimeout = or(c.BodyTimeout, defaultBodyTimeout)
	c.HeartbeatTime = or(c.HeartbeatTime, defaultHeartbeatTime)
	c.CallTime = or(c.CallTime, defaultCallTime)
	return c, nil
}

func or[N int | int64 | time.Duration](value, fallback N) N {
	if value <= 0 {
		return fallback
	}
	return value
}

// Role is what a requester is to a runtime.
type Role int

// The roles. Each may do what the one before may do.
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

// Access decides who may do what. It is asked before anything is looked up. An error is answered
// 500 and logged, except for those below.
type Access interface {
	// Requester returns who sent a front end's request, and the sender's role for the runtime. It
	// returns [ErrUnauthenticated] for a missing or wrong token.
	Requester(r *http.Request, runtimeID string) (Requester, error)

	// Daemon reports whether a request comes from the runtime's own daemon. It returns
	// [ErrUnauthenticated] for a missing or wrong token. [ErrRuntimeGone] means that the request
	// comes from the daemon of a runtime that was deleted, and its daemon is to forget it.
	Daemon(r *http.Request, runtimeID string) (bool, error)
}

// ErrUnauthenticated is what [Access] returns for a missing or wrong token: 401. Clients log out or
// renew their token then. A caller who is known but may not do something gets another answer.
var ErrUnauthenticated = errors.New("the token is missing or wrong")

// ErrRuntimeGone is what [Access.Daemon] returns for a runtime that has been deleted.
var ErrRuntimeGone = errors.New(wire.RuntimeGone)

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
	// Save keeps a skill that a runtime has reported. It is idempotent by RequestID: once a save
	// has succeeded, the same RequestID again returns the skill as it was saved then. It returns a
	// [NameTakenError] if another skill has the name of the one to create. It returns an error that
	// is [ErrRefused] for any other reason that people should read. Any other error is answered
	// 500, and the daemon reports again.
	Save(ctx context.Context, s Save) (skills.Skill, error)

	// TakeBack removes the skill that the save of this request created, if it is still there and
	// nothing else has changed it since.
	TakeBack(ctx context.Context, requestID string) error
}

// Save is a skill to keep. Its texts hold no NUL and are within the limits of package skills. The
// paths of its files are clean, differ, and stay below the skill's folder. A disk may still be
// unable to hold one: see folders.Unpack.
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

// ErrRefused is what a [Library] refuses with. People see the text of the error that wraps it.
var ErrRefused = errors.New("refused")
