package skillshttp

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/wire"
)

// Config configures a [Handler].
type Config struct {
	Stores   *skills.Stores // required
	Access   Access         // required
	Library  Library        // required
	Presence Presence       // nil: every runtime counts as online

	// Logger gets a line for each request: ids, outcome and duration, never a payload. Default:
	// slog.Default().
	Logger *slog.Logger

	// Catalogue remembers the models of each runtime, so that most requests for them are answered
	// at once. All nodes have to share it. Default: nil, which asks the runtime each time.
	Catalogue Catalogue

	// The next three fields limit the parked requests of this node. A GET over a limit is answered
	// 429 with Retry-After. A heartbeat over a limit claims at once, without a wait.

	// MaxWaits limits GETs with ?wait=. It also limits, apart from GETs, the sum of heartbeats and
	// runtimes of WebSockets. Default: 20,000.
	MaxWaits int

	// MaxRuntimeWaits limits the GETs about one runtime, and apart from GETs its heartbeats and
	// WebSockets. One user may have half of the GETs. Default: 100.
	MaxRuntimeWaits int

	// MaxCallerWaits limits the GETs of one user. Default: 1,000.
	MaxCallerWaits int

	// MaxBody is the most bytes in the body of a report. A larger report is answered 413, and its
	// request fails. Any other body may have 64 KiB. Default: 32 MiB.
	MaxBody int64

	// MaxBytes is how many bytes of large report bodies this node holds at a time. It is also how
	// many bytes of large answers the node holds. The reports of one runtime, and the answers of
	// one user, may use half of that. A report over the limit waits for room, up to CallTime, and
	// is then answered 503. An answer over the limit is replaced by a 429 at once. A single report
	// or answer always has room. Large means over 64 KiB. Default: 64 MiB.
	MaxBytes int64

	// BodyTimeout is how long the body of a report may take to arrive. The client may take twice as
	// long to read an answer. Each 64 KiB of a body, and each 256 KiB of an answer, may take 10 s.
	// A body that is not a report's may take 10 s in all. A body that takes longer is answered 503.
	// Default: 1 min.
	BodyTimeout time.Duration

	// HeartbeatTime is how long the claim of a heartbeat may take. If the stores are slower, or
	// fail, the answer has no work, and the log has a warning. Default: 2 s.
	HeartbeatTime time.Duration

	// CallTime is how long the stores, Access and Presence may take for an answer that is not to a
	// heartbeat. Default: 10 s.
	CallTime time.Duration
}

const (
	maxSmallBody = 64 << 10
	maxWait      = time.Minute
)

// withDefaults sets the defaults. It returns an error if a required field is missing, or a limit is
// negative.
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
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.MaxWaits = cmp.Or(c.MaxWaits, 20_000)
	c.MaxRuntimeWaits = cmp.Or(c.MaxRuntimeWaits, 100)
	c.MaxCallerWaits = cmp.Or(c.MaxCallerWaits, 1000)
	c.MaxBody = cmp.Or(c.MaxBody, 32<<20)
	c.MaxBytes = cmp.Or(c.MaxBytes, 64<<20)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, time.Minute)
	c.HeartbeatTime = cmp.Or(c.HeartbeatTime, 2*time.Second)
	c.CallTime = cmp.Or(c.CallTime, 10*time.Second)
	if min(c.MaxWaits, c.MaxRuntimeWaits, c.MaxCallerWaits) < 0 || min(c.MaxBody, c.MaxBytes) < 0 ||
		min(c.BodyTimeout, c.HeartbeatTime, c.CallTime) < 0 {
		return c, errors.New("skillshttp: a limit of Config is negative")
	}
	return c, nil
}

// Role is the role of a requester for a runtime.
type Role int

// The roles. Each includes the rights of the role before it.
const (
	RoleNone   Role = iota // may not see the runtime: every answer is 404
	RoleMember             // may ping the runtime and list its skills and models
	RoleAdmin              // may also update the runtime
	RoleOwner              // may also import the runtime's skills
)

// Requester is the user who has sent a request.
type Requester struct {
	UserID string // the creator of imported skills
	Role   Role   // for the runtime of the request
}

// Access authorises requests. It is called before anything is looked up. An error is answered 500
// and logged, except for the errors below.
type Access interface {
	// Requester returns the user who sent a front end's request, and the user's role for the
	// runtime. It returns [ErrUnauthenticated] for a missing or wrong token.
	Requester(r *http.Request, runtimeID string) (Requester, error)

	// Daemon reports whether a request comes from the runtime's own daemon. It returns
	// [ErrUnauthenticated] for a missing or wrong token. It returns [ErrRuntimeGone] if the request
	// comes from the daemon of a deleted runtime. That daemon then stops.
	Daemon(r *http.Request, runtimeID string) (bool, error)
}

// ErrUnauthenticated is the error of [Access] for a missing or wrong token. It is answered 401, and
// clients then log out or renew their token. Do not return it for a known user without the right
// role.
var ErrUnauthenticated = errors.New("the token is missing or wrong")

// ErrRuntimeGone is the error of [Access.Daemon] for a deleted runtime.
var ErrRuntimeGone = errors.New(wire.RuntimeGone)

// Presence knows which runtimes are online. All nodes have to share it.
type Presence interface {
	// Seen notes that a runtime has sent a heartbeat. The handler calls Seen once for each
	// heartbeat, and meanwhile claims and waits for work.
	Seen(ctx context.Context, runtimeID string) error
	// Online reports whether the runtime has sent a heartbeat lately. A heartbeat may wait for up
	// to a minute, so lately has to mean more than a minute: two are enough.
	Online(ctx context.Context, runtimeID string) (bool, error)
}

type alwaysOnline struct{}

func (alwaysOnline) Seen(context.Context, string) error           { return nil }
func (alwaysOnline) Online(context.Context, string) (bool, error) { return true, nil }

// Library stores imported skills. All nodes have to share it.
type Library interface {
	// Save stores a skill that a runtime has reported. It is idempotent by RequestID: after a
	// successful save, another one with the same RequestID returns the skill of the first save. It
	// returns a [NameTakenError] if another skill has the name of the skill to create. It returns
	// an error that wraps [ErrRefused] for any other reason that people should read. Any other
	// error is answered 500, and the daemon reports again.
	Save(ctx context.Context, s Save) (skills.Skill, error)

	// TakeBack removes the skill that the save of this request created, if the skill still exists
	// and has not changed since.
	TakeBack(ctx context.Context, requestID string) error
}

// Save is a skill to store. Its texts contain no NUL and are within the limits of package skills.
// The paths of its files are clean, distinct and below the skill's folder. A disk may still be
// unable to hold a file: see folders.Unpack.
type Save struct {
	RequestID   string
	RuntimeID   string
	CreatorID   string // the user who asked for the import
	Name        string // of the request, or else of the bundle; not empty
	Description string // of the request, or else of the bundle
	Bundle      skills.Bundle

	// Overwrite is the id of the skill to replace. Only the creator of that skill may replace it.
	// "" creates a skill.
	Overwrite string
}

// NameTakenError means that another skill already has the name.
type NameTakenError struct{ Conflict skills.Conflict }

func (e *NameTakenError) Error() string { return "a skill with this name already exists" }

// ErrRefused is the error of a [Library] that refuses a skill. Wrap it: the whole text becomes the
// error of the request, for people to read.
var ErrRefused = errors.New("refused")
