package goredis

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Options are the options of [New]. The zero value suits most users.
type Options struct {
	// Prefix is the beginning of every key. Installations that share a server need different
	// prefixes. A prefix has at most 64 printable ASCII characters, no spaces and no braces.
	// Default: "pendingq:".
	Prefix string

	// PollInterval is how long a waiter waits for a wake-up before it polls, give or take a
	// quarter. A wake-up arrives within a millisecond or so. The interval bounds how long a lost
	// wake-up delays a waiter, and how late an expired lease is claimed again. On a Cluster,
	// waiters of a slot without a node only poll. Default: 15 s. Minimum: 10 ms.
	PollInterval time.Duration

	// AutoPipeline is when to gather commands into pipelines. Default: AutoPipelineByLoad.
	AutoPipeline AutoPipeline
}

// AutoPipeline is when the full-duplex autopipeliner of go-redis gathers the commands of concurrent
// callers. The autopipeliner sends commands over one connection while replies arrive. With many
// callers this means fewer packets and less work for the server. A single caller gains nothing. The
// guarantees of an operation stay the same. If its context ends before its script was sent, the
// script is not sent later.
//
// On a Cluster no command is gathered: in go-redis 9.23 two goroutines may write the same command
// when a pipeline is redirected. So commands are gathered only if the client is a *redis.Client or
// embeds one.
//
// A process hook of the client sees each command, and an error of the hook reaches the caller. But
// go-redis sends a gathered command without waiting for the hook. So the hook cannot prevent the
// command: the operation may have happened all the same. If hooks refuse commands, use
// AutoPipelineNever.
//
// The client has only one autopipeliner, with the options of its first user. The client closes the
// autopipeliner when the client is closed.
type AutoPipeline int

const (
	// AutoPipelineByLoad gathers a command if four or more others of this Backend are in flight.
	AutoPipelineByLoad AutoPipeline = iota

	// AutoPipelineNever sends each command by itself.
	AutoPipelineNever

	// AutoPipelineAlways gathers every command.
	AutoPipelineAlways
)

const (
	// aloneByLoad is how many commands may be in flight before further commands are gathered. With
	// one caller, commands are faster by themselves. With eight or more callers, gathered commands
	// are faster.
	aloneByLoad = 4

	// gatherFor is how long the autopipeliner gathers commands before it writes, if more than a
	// hundred are in flight. Of the times from 0 to 300 µs, 50 µs gave the most lifecycles per
	// second with 512 callers.
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
			"want at most 64 bytes of printable ASCII without spaces or braces",
			o.Prefix, len(o.Prefix))
	case o.PollInterval < 10*time.Millisecond:
		return o, fmt.Errorf("goredis: Options.PollInterval is %v, want at least 10ms",
			o.PollInterval)
	case o.AutoPipeline < AutoPipelineByLoad || o.AutoPipeline > AutoPipelineAlways:
		return o, fmt.Errorf("goredis: Options.AutoPipeline is %d, want one of its constants",
			o.AutoPipeline)
	}
	return o, nil
}
