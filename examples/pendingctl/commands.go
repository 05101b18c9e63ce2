package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// command is one of the things that can be asked for.
type command struct {
	words   string // what calls it
	args    string // what follows, for people
	summary string
	details string
	flags   func(*flag.FlagSet, *options) // its own
	run     func(context.Context, *session) error
}

func commands() []command {
	return []command{
		{words: "skills list", summary: "list the skills on the runtime's disk", flags: listFlags,
			run: listSkills, details: "KEY is what import asks for."},
		{words: "skills import", args: "KEY...", summary: "import skills from the runtime to the server", flags: importFlags, run: importSkills,
			details: "Several skills are imported at once. When the name of one is taken the import ends as a conflict, which\n" +
				"says the id of the skill that has it; its creator may import again with --overwrite ID."},
		{words: "ping", summary: "ask the runtime for a sign of life", run: ping},
		{words: "update", args: "VERSION", summary: "have the runtime update itself", run: update,
			details: "A runtime has one update at a time; while one is in progress another is refused."},
		{words: "models", summary: "list the models that the runtime can use", run: models},
	}
}

const usage = `Usage: pendingctl [flags] COMMAND [arguments]

Asks a runtime for something through an API node, waits until it has answered, and shows the answer.

Commands:
%s
Flags, before or after the command:
%s
Environment: PENDINGCTL_SERVER, PENDINGCTL_RUNTIME and PENDINGCTL_TOKEN stand for -server, -runtime and -token. Prefer
PENDINGCTL_TOKEN: other users of this machine can see a command line.

Exits with 0 when all is well; 1 when a request was refused, failed, ended in a conflict or timed out; 2 when called
wrongly; 3 when the server or the network is at fault; 130 when interrupted. "pendingctl COMMAND --help" says more.
`

// dispatch finds the command that args call, and runs it.
func dispatch(ctx context.Context, args []string, s surroundings) error {
	o := defaults(s.env)
	global := newFlags("pendingctl", &o)
	if err := global.Parse(args); err != nil {
		return help(err, s, mainHelp())
	}
	called := global.Args()
	for _, c := range commands() {
		words := strings.Fields(c.words)
		if len(called) >= len(words) && strings.Join(called[:len(words)], " ") == c.words {
			return c.call(ctx, called[len(words):], o, s)
		}
	}
	switch {
	case len(called) == 0:
		return misused("no command given; see pendingctl --help")
	case called[0] == "help" || asksHelp(called):
		return help(flag.ErrHelp, s, mainHelp())
	}
	return misused("unknown command %q; see pendingctl --help", strings.Join(called[:min(2, len(called))], " "))
}

// asksHelp is for the words of a command that lacks some, e.g. skills --help.
func asksHelp(args []string) bool {
	last := args[len(args)-1]
	return last == "-h" || last == "-help" || last == "--help"
}

func (c command) call(ctx context.Context, args []string, o options, s surroundings) error {
	flags := newFlags(c.words, &o)
	if c.flags != nil {
		c.flags(flags, &o)
	}
	words, err := parseMixed(flags, args)
	if err != nil {
		return help(err, s, c.help())
	}
	if err := c.checkArgs(words); err != nil {
		return err
	}
	session, err := newSession(o, words, s)
	if err != nil {
		return err
	}
	defer session.close()
	return c.run(ctx, session)
}

func (c command) checkArgs(words []string) error {
	switch {
	case c.args == "" && len(words) > 0:
		return misused("unexpected argument %q; see pendingctl %s --help", words[0], c.words)
	case c.args != "" && len(words) == 0:
		return misused("%s is missing; see pendingctl %s --help", strings.TrimSuffix(c.args, "..."), c.words)
	case c.args != "" && !strings.HasSuffix(c.args, "...") && len(words) > 1:
		return misused("unexpected argument %q; see pendingctl %s --help", words[1], c.words)
	}
	return nil
}

// help prints a help text if that is what the error says, and else makes it a usageError.
func help(err error, s surroundings, text string) error {
	if !errors.Is(err, flag.ErrHelp) {
		return misused("%v; see --help", err)
	}
	_, _ = io.WriteString(s.stdout, text)
	return flag.ErrHelp
}

// nothing is the environment that help texts assume, so that they show no one's token.
func nothing(string) string { return "" }

func mainHelp() string {
	var list strings.Builder
	for _, c := range commands() {
		fmt.Fprintf(&list, "  %-22s %s\n", strings.TrimSpace(c.words+" "+c.args), c.summary)
	}
	o := defaults(nothing)
	return fmt.Sprintf(usage, list.String(), flagHelp(newFlags("", &o)))
}

func (c command) help() string {
	o := defaults(nothing)
	flags := newFlags("", &o)
	if c.flags != nil {
		c.flags(flags, &o)
	}
	details := c.details
	if details != "" {
		details += "\n\n"
	}
	return fmt.Sprintf("Usage: pendingctl %s [flags]\n\n%s%s.\n\n%sFlags:\n%s", strings.TrimSpace(c.words+" "+c.args),
		strings.ToUpper(c.summary[:1]), c.summary[1:], details, flagHelp(flags))
}
