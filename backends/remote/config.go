package remote

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/pending"
)

// Config configures a [Handler].
type Config struct {
	// Stores are the policies of the stores to serve. Any other store answers 404. Required.
	Stores []pending.Policy

	Access Access // required

	// Logger gets a line for each request: ids, outcome and duration, never a payload or a token.
	// Default: slog.Default().
	Logger *slog.Logger

	CallTimeout time.Duration // of each call of the backend. Default: 10 s

	// BodyTimeout is how long a body may take to arrive, and an answer to be taken. Small bodies
	// have 10 s. Default: 1 min.
	BodyTimeout time.Duration

	// MaxInFlight is how many bytes of bodies and answers are in memory at a time, on the side of
	// front ends and on the side of workers. A caller can hold a quarter of that. A request first
	// takes what the MaxPayload of its store allows. If it has to wait longer than 5 s, it is
	// answered 429. Small requests may overtake it. Memory in use may be three times as much.
	// A claim may bring a request of each store, so MaxInFlight is at least four times the sum of
	// the MaxPayload of all stores. Default: that, or 256 MiB if that is more.
	MaxInFlight int64

	// MaxParked is how many requests wait at a time, on each side. A tenth of them can be of one
	// caller, and a hundredth can wait for one mailbox. A watch names mailboxes and requests. All
	// watches of a side name at most ten times MaxParked of them. The watches of one caller name
	// at most twice MaxParked. A single watch may name more. What is over a limit is answered 429.
	// Default: 10,000.
	MaxParked int
}

// Action is an action of a caller.
type Action string

// The actions. A worker reads, claims and reports. A front end creates, reads, lists and cancels.
//
// Not only ActionRead reveals requests. If a request exists, ActionCreate returns it with its
// answer, to any caller that knows its id or key. If a request has ended, ActionCancel and
// ActionReport refuse with the whole request. Callers that share a mailbox, but may not see each
// other's answers, need keys that cannot be guessed.
//
// A caller may choose the id of a request. A caller that guesses a key of another mailbox can take
// the key's id for a request of its own mailbox, if the two mailboxes share a partition. Then each
// Create with that key is refused as invalid. Keys that cannot be guessed prevent this, too.
const (
	ActionCreate Action = "create"
	ActionRead   Action = "read"   // Get, and the wait for a change of a request
	ActionList   Action = "list"   // List and HasPending; with mailbox "": Mailboxes
	ActionCancel Action = "cancel" // also a requester's timeout
	ActionClaim  Action = "claim"  // also the wait for new requests of a mailbox
	ActionReport Action = "report" // Extend and End: progress, release and the answer
)

// Access decides which caller may do which action. The handler calls it concurrently. If it returns
// an error, the answer is 500 and the handler logs the error.
type Access interface {
	// Caller returns the name of the request's sender, for Allow, limits and logs. It returns "" if
	// the request has no valid token. The handler then answers 401.
	Caller(r *http.Request) (string, error)

	// Allow reports whether a caller may do this in the mailbox of a store. A caller who may not is
	// answered 403 if they may read there, and 404 otherwise.
	Allow(r *http.Request, caller string, action Action, store, mailbox string) (bool, error)
}

const (
	smallBody        = 256 << 10 // bytes of a body without a payload
	smallBodyTimeout = 10 * time.Second
	envelope         = 160 << 10 // bytes of a body beside its payload
	minInFlight      = 256 << 20 // bytes of the default of MaxInFlight, at least
)

// store is a policy as the handler uses it.
type store struct {
	pending.Policy // with its default of MaxPayload
	terms          backends.Terms
}

// newStore checks a policy.
func newStore(b backends.Backend, p pending.Policy) (*store, error) {
	if _, err := pending.New(b, codec.JSON[struct{}](), p); err != nil {
		return nil, err
	}
	p.MaxPayload = cmp.Or(p.MaxPayload, check.MaxPayload)
	return &store{p, p.Terms()}, nil
}

func (s *store) maxPayload() int64 { return int64(s.MaxPayload) }

// maxBody returns how large a body with a payload may be.
func (s *store) maxBody() int64 { return s.maxPayload()/3*4 + envelope }

// withDefaults fills in the defaults.
func (c Config) withDefaults() (Config, error) {
	if len(c.Stores) == 0 {
		return c, errors.New("remote: Config.Stores is empty")
	}
	if c.Access == nil {
		return c, errors.New("remote: Config.Access is nil")
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.CallTimeout = cmp.Or(c.CallTimeout, 10*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, time.Minute)
	c.MaxParked = cmp.Or(c.MaxParked, 10_000)
	lowest := min(int64(c.CallTimeout), int64(c.BodyTimeout), c.MaxInFlight, int64(c.MaxParked))
	if lowest < 0 {
		return c, fmt.Errorf("remote: a limit of Config is %d, less than 0", lowest)
	}
	return c, nil
}
