package main

import (
	"cmp"
	"flag"
	"io"
	"strings"
	"time"
)

// options are what the command line and the environment say.
type options struct {
	server    string
	runtime   string
	token     string
	output    string
	timeout   time.Duration
	name      string // of an imported skill
	overwrite string // the id of a skill
	verbose   bool
}

const (
	outputTable = "table"
	outputJSON  = "json"
)

// defaultTimeout is longer than any request lives: the server says first that one has timed out.
const defaultTimeout = 5 * time.Minute

func defaults(env func(string) string) options {
	return options{
		server:  cmp.Or(env("PENDINGCTL_SERVER"), "http://127.0.0.1:8080"),
		runtime: env("PENDINGCTL_RUNTIME"), token: env("PENDINGCTL_TOKEN"),
		output: outputTable, timeout: defaultTimeout,
	}
}

// newFlags has the flags that all commands have. What o has already is their default, so that they
// may stand before a command and behind it.
func newFlags(name string, o *options) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // mistakes and help are printed where they are handled
	flags.StringVar(&o.server, "server", o.server, "`URL` of an API node, or of what balances several")
	flags.StringVar(&o.runtime, "runtime", o.runtime, "`ID` of the runtime to ask")
	flags.StringVar(&o.token, "token", o.token, "`TOKEN` that says who is asking")
	flags.StringVar(&o.output, "o", o.output, "output `FORMAT`: table or json")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "how long to wait for an answer")
	return flags
}

func listFlags(flags *flag.FlagSet, o *options) {
	flags.BoolVar(&o.verbose, "v", false, "say what the list leaves out, and why")
}

func importFlags(flags *flag.FlagSet, o *options) {
	flags.StringVar(&o.name, "name", "", "`NAME` for the skill instead of its own; with a single KEY")
	flags.StringVar(&o.overwrite, "overwrite", "",
		"`ID` of the skill to replace, instead of making a new one; with a single KEY")
}

func flagHelp(flags *flag.FlagSet) string {
	var text strings.Builder
	flags.SetOutput(&text)
	flags.PrintDefaults()
	return text.String()
}

// parseMixed parses flags that stand anywhere among other words, and returns those. After "--"
// there are no flags.
func parseMixed(flags *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		rest := flags.Args()
		if len(rest) == 0 {
			return words, nil
		}
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" {
			return append(words, rest...), nil
		}
		words, args = append(words, rest[0]), rest[1:]
	}
}

func (o options) check() error {
	switch {
	case o.runtime == "":
		return misused("which runtime? -runtime ID or PENDINGCTL_RUNTIME says it")
	case o.token == "":
		return misused("who is asking? -token TOKEN or PENDINGCTL_TOKEN says it")
	case o.output != outputTable && o.output != outputJSON:
		return misused("-o %s is neither table nor json", o.output)
	case o.timeout <= 0:
		return misused("-timeout has to be longer than 0")
	}
	return nil
}
