package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
)

// Config configures a [Daemon]. Server and RuntimeID are required.
type Config struct {
	Server    string // base URL of the API, e.g. https://api.example.com
	RuntimeID string
	Token     string // sent as a bearer token; "" sends none

	Handlers Handlers

	// Client makes the calls. The daemon uses a copy that follows no redirect to another host.
	// Default: a client without a time limit of its own, since each call has one.
	Client *http.Client

	// Wait is how long the daemon asks the server to hold a heartbeat, at most a minute. The
	// daemon asks for less while a proxy cuts heartbeats off. Negative: not at all. Default: 20 s.
	Wait time.Duration

	// Interval is the time between two heartbeats to a server that does not hold them, give or
	// take a tenth. Default: 15 s.
	Interval time.Duration

	// MaxConcurrent is how many requests the daemon works on at a time. Default: 16.
	MaxConcurrent int

	// Grace is how long running work may go on once Run's context has ended. The reports about the
	// work may take longer. Default: 30 s.
	Grace time.Duration

	// Logger gets ids, outcomes and durations, never a payload. Default: slog.Default().
	Logger *slog.Logger
}

// Handlers do the work. They are called concurrently, and their context ends when the daemon stops
// waiting for them. People read an error as the reason of a failure.
type Handlers struct {
	// List lists the runtime's skills and MCP servers. nil: the runtime cannot list them.
	List func(ctx context.Context) (skills.List, error)

	// Import bundles the skill with this key. nil: every import fails.
	Import func(ctx context.Context, key string) (skills.Bundle, error)

	// Ping gives a sign of life. nil: the daemon answers with an empty output.
	Ping func(ctx context.Context) (output string, err error)

	// Update updates the runtime to a version. While it runs, the daemon reports so to the server.
	// nil: every update fails.
	Update func(ctx context.Context, version string) (output string, err error)

	// Models lists the models that the runtime can use. nil: the runtime cannot list them.
	Models func(ctx context.Context) (skills.ModelList, error)
}

// Folders returns handlers that list and import the skills in these roots.
func Folders(roots []folders.Root) Handlers {
	return Handlers{
		List: func(ctx context.Context) (skills.List, error) {
			found, left, err := folders.Discover(ctx, roots)
			return skills.List{Skills: found, Supported: true, Omissions: omissions(left)}, err
		},
		Import: func(ctx context.Context, key string) (skills.Bundle, error) {
			b, left, err := folders.Bundle(ctx, roots, key)
			b.Omissions = omissions(left)
			return b, err
		},
	}
}

func omissions(left []folders.Warning) (o skills.Omissions) {
	for _, w := range left {
		o.Add(skills.Omission{Key: w.Key, Path: w.Path, Reason: w.Err.Error()})
	}
	return o
}

const (
	defaultWait          = 20 * time.Second
	maxWait              = time.Minute
	defaultInterval      = 15 * time.Second
	defaultMaxConcurrent = 16
	defaultGrace         = 30 * time.Second
)

// withDefaults sets the defaults. It returns an error for a config that cannot work.
func (c Config) withDefaults() (Config, error) {
	server, err := url.Parse(c.Server)
	switch {
	case err != nil || server.Host == "" || server.Scheme != "http" && server.Scheme != "https":
		// The error does not quote the URL, since that may hold a password.
		return c, errors.New("daemon: Config.Server is not an http or https URL")
	case c.RuntimeID == "":
		return c, errors.New("daemon: Config.RuntimeID is empty")
	case c.Wait > maxWait:
		return c, fmt.Errorf("daemon: Config.Wait is %v, want at most %v", c.Wait, maxWait)
	}
	c.Server = strings.TrimSuffix(c.Server, "/")
	c.Client = poll.Client(cmp.Or(c.Client, &http.Client{}))
	c.Wait = cmp.Or(c.Wait, defaultWait)
	c.Interval = cmp.Or(c.Interval, defaultInterval)
	c.MaxConcurrent = cmp.Or(c.MaxConcurrent, defaultMaxConcurrent)
	c.Grace = cmp.Or(c.Grace, defaultGrace)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.Interval < 0 || c.MaxConcurrent < 0 || c.Grace < 0 {
		return c, errors.New("daemon: Config.Interval, MaxConcurrent and Grace cannot be negative")
	}
	return c, nil
}
