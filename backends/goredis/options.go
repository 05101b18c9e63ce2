package goredis

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Options are the options of [New]. The zero value suits most users.
type Options struct {
	// Prefix begins every key. Installations that share a server need different prefixes. A prefix
	// has at most 64 printable ASCII characters and no braces. Default: "pendingq:".
	Prefix string

	// PollInterval is how often a waiter looks again without a wake-up, give or take a quarter.
	// Wake-ups arrive within a millisecond or so. This interval bounds how long a lost wake-up
	// delays a waiter, and how late an expired lease is claimed again. At least 10 ms. Default: 15
	// s.
	PollInterval time.Duration

	// AutoPipeline is when to gather commands into pipelines. Default: AutoPipelineByLoad.
	AutoPipeline AutoPipeline
}

// AutoPipeline is when the full-duplex autopipeliner of go-redis gathers the commands of concurrent
// callers. It sends commands over one connection, while replies arrive. With many callers this
// means fewer packets and less work for the server. A single caller gains nothing. The guarantees
// of an operation stay the same. On a Cluster no command is gathered: in go-redis 9.23 a redirected
// pipeline may have two goroutines write one command.
//
// A process hook of the client sees each command, and its error reaches the caller. But go-redis
// sends a gathered command without waiting for its hooks. So a hook cannot prevent the command: as
// after a lost reply, the operation may have happened. With hooks that refuse commands, use
// AutoPipelineNever.
//
// The client has only one autopipeliner, with the options of its first user. It closes the
// autopipeliner when it is closed.
type AutoPipeline int

const (
	// AutoPipelineByLoad gathers a command if four or more of this Backend are in flight.
	AutoPipelineByLoad AutoPipeline = iota

	// AutoPipelineNever sends each command by itself.
	AutoPipelineNever

	// AutoPipelineAlways gathers every command.
	AutoPipelineAlways
)

const (
	// aloneByLoad is how many commands may be in flight before further commands are gathered. With
	// one caller a command by itself is faster. From eight callers on, gathered commands are
	// faster.
	aloneByLoad = 4

	// gatherFor is how long the autopipeliner gathers commands before it writes, if more than a
	// hundred are in flight. Of 0 to 300 µs it gave the most lifecycles per second, with 512
	// callers.
	gatherFor = 50 * time.Microsecond
)

// check fills in defaults. It returns an error for an invalid option.
func (o Options) check() (Options, error) {
	o.Prefix = cmp.Or(o.Prefix, "pendingq:")
	o.PollInterval = cmp.Or(o.PollInterval, 15*time.Second)
	refused := func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' }
	switch {
	case len(o.Prefix) > 64 || strings.ContainsFunc(o.Prefix, refused):
		return o, fmt.Errorf("goredis: Options.Prefix is %q, %d bytes; "+
			"want at most 64 bytes of printable ASCII without braces", o.Prefix, len(o.Prefix))
	case o.PollInterval < 10*time.Millisecond:
		return o, fmt.Errorf("goredis: Options.PollInterval is %v, want at least 10ms",
			o.PollInterval)
	case o.AutoPipeline < AutoPipelineByLoad || o.AutoPipeline > AutoPipelineAlways:
		return o, fmt.Errorf("goredis: Options.AutoPipeline is %d, want one of its constants",
			o.AutoPipeline)
	}
	return o, nil
}
