package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// program holds the flags of all commands.
type program struct {
	options
	surroundings
	root *cobra.Command
}

const about = `Pendingctl shows and cancels the requests of any store, and sends requests to
runtimes. It talks to an API node.

Each common flag has an environment variable: PENDINGCTL_SERVER, PENDINGCTL_PATH,
PENDINGCTL_TOKEN, PENDINGCTL_STORE, PENDINGCTL_RUNTIME, PENDINGCTL_OUTPUT and
PENDINGCTL_TIMEOUT. A flag overrides its variable. Prefer PENDINGCTL_TOKEN to --token:
other users of this machine can see a command line.

Exits with 0 after success.
Exits with 1 if a request was refused or not found, or ended but was not completed, or if there
was no answer in time.
Exits with 2 for a wrong option or argument.
Exits with 3 if the server or the network failed.
Exits with 130 after an interrupt.`

// newRoot makes all commands.
func newRoot(s surroundings) *cobra.Command {
	p := &program{surroundings: s}
	p.root = p.group("pendingctl", "show, cancel and send requests", about)
	p.root.SilenceErrors, p.root.SilenceUsage = true, true
	p.root.SetOut(s.stdout)
	p.root.SetErr(s.stderr)
	p.root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return misused("%v; see %s --help", err, c.CommandPath())
	})
	commonFlags(p.root.PersistentFlags(), &p.options)
	formats := []string{outputTable, outputJSON}
	_ = p.root.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	p.root.AddGroup(&cobra.Group{ID: "stores", Title: "Requests of any store:"},
		&cobra.Group{ID: "runtimes", Title: "Requests to a runtime:"})
	p.storeCommands()
	p.runtimeCommands()
	p.completion()
	return p.root
}

// group makes a command that only has subcommands.
func (p *program) group(use, short, long string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs,
		SuggestionsMinimumDistance: 2, RunE: wantSubcommand}
}

// wantSubcommand reports a missing or unknown subcommand.
func wantSubcommand(c *cobra.Command, words []string) error {
	path := strings.TrimPrefix(c.CommandPath()+" ", "pendingctl ")
	if len(words) == 0 {
		return misused("no command given after %q; see %s --help",
			strings.TrimSpace("pendingctl "+path), c.CommandPath())
	}
	near := ""
	if found := c.SuggestionsFor(words[0]); len(found) > 0 {
		near = "; did you mean " + strings.Join(found, " or ") + "?"
	}
	return misused("unknown command %q%s; see %s --help", path+words[0], near, c.CommandPath())
}

// completion makes cobra's completion command report mistakes like the other commands.
func (p *program) completion() {
	p.root.InitDefaultCompletionCmd()
	for _, c := range p.root.Commands() {
		if c.Name() == "completion" {
			c.Args, c.RunE = cobra.ArbitraryArgs, wantSubcommand
			for _, shell := range c.Commands() {
				shell.Args = argsOf(shell.Use)
			}
		}
	}
}

// runtimeCommands adds the commands that send a request to a runtime.
func (p *program) runtimeCommands() {
	add := func(to *cobra.Command, use, short, long string,
		run func(context.Context, *session) error) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Long: long, Args: argsOf(use),
			ValidArgsFunction: cobra.NoFileCompletions}
		c.RunE = func(c *cobra.Command, words []string) error {
			s, err := p.newSession(words)
			if err != nil {
				return err
			}
			defer s.close()
			return run(c.Context(), s)
		}
		to.AddCommand(c)
		return c
	}
	skills := p.group("skills", "list the skills of the runtime, or import some", "")
	skills.GroupID = "runtimes"
	p.root.AddCommand(skills)
	list := add(skills, "list", "list the skills on the runtime's disk",
		"List the skills on the runtime's disk. The command import needs the KEY of a skill.",
		listSkills)
	list.Flags().BoolVarP(&p.verbose, "verbose", "v", false,
		"say what the list leaves out, and why")
	imports := add(skills, "import KEY...", "import skills from the runtime to the server",
		`Import skills from the runtime to the server, several at once.

If the name of a skill is taken, its import ends as a conflict, which names the id of the existing
skill. The creator of the existing skill may import again with --overwrite ID.`, importSkills)
	imports.Flags().StringVar(&p.name, "name", "",
		"`NAME` for the skill instead of its own name; only with a single KEY")
	imports.Flags().StringVar(&p.overwrite, "overwrite", "",
		"`ID` of a skill to replace; only with a single KEY")
	add(p.root, "ping", "ask the runtime for a sign of life", "", ping).GroupID = "runtimes"
	add(p.root, "update VERSION", "have the runtime update itself",
		`Have the runtime update itself.

A runtime has one update at a time. While one is in progress, another is refused.`,
		update).GroupID = "runtimes"
	add(p.root, "models", "list the models that the runtime can use", "",
		models).GroupID = "runtimes"
}

// storeCommands adds the commands for the requests of any store.
func (p *program) storeCommands() {
	ls := p.addStoreCommand("ls [MAILBOX]", "list mailboxes, or the live requests of one",
		"List mailboxes, or the live requests of one."+aboutRows, list)
	ls.Flags().IntVar(&p.limit, "limit", 100, "`ROWS` to show at most")
	ls.ValidArgsFunction = p.completeMailbox
	top := p.addStoreCommand("top [MAILBOX]", "show mailboxes or requests again and again",
		`Show what ls shows, again and again, until interrupted. On a terminal it fills the screen.
Elsewhere it writes a table each time, or with -o json a line. Exits with 0 after an
interrupt.`+aboutRows, top)
	top.Flags().IntVar(&p.limit, "limit", 25, "`ROWS` to show at most")
	top.Flags().DurationVar(&p.interval, "interval", 2*time.Second, "time between two updates")
	top.Flags().IntVar(&p.times, "times", 0, "show `N` updates; 0: until interrupted")
	top.ValidArgsFunction = p.completeMailbox
	p.addStoreCommand("show ID", "show a request",
		`Show a request: its status, its times, its headers and its payload.

A payload in JSON or msgpack is shown as JSON. For any other payload, such as a sealed one, only
the size and the codec are shown.`, show)
	p.addStoreCommand("watch ID", "follow a request until it has ended",
		`Follow a request until it has ended, with a line for each change.

Exits with 0 if the request was completed, and with 1 if it ended in another way.`, follow)
	cancel := p.addStoreCommand("cancel ID", "cancel a request", `Cancel a request.

A pending request ends at once. A running request also ends at once, unless the server's policy
gives its worker a grace. A second cancel succeeds and changes nothing.`, cancel)
	cancel.Flags().StringVar(&p.reason, "reason", "",
		"`TEXT` with the reason, for the worker and the requester")
}

const aboutRows = `

Without MAILBOX it shows mailboxes with live requests: first those with more than 100, then those
with the oldest request. It reads at most 10,000 mailboxes, and counts at most 100 requests of each.
With MAILBOX it shows the live requests of this mailbox, the oldest first. If there are more than
--limit, older ones may be missing.`

// addStoreCommand adds a command that runs with a storeSession.
func (p *program) addStoreCommand(use, short, long string,
	run func(context.Context, *storeSession) error) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, GroupID: "stores",
		Args: argsOf(use), ValidArgsFunction: cobra.NoFileCompletions}
	c.RunE = func(c *cobra.Command, words []string) error {
		s, err := p.newStoreSession(words)
		if err != nil {
			return err
		}
		defer s.close()
		return run(c.Context(), s)
	}
	p.root.AddCommand(c)
	return c
}

// argsOf checks arguments against the use of a command. X is required, [X] is optional, and X...
// stands for one or more.
func argsOf(use string) cobra.PositionalArgs {
	_, names, _ := strings.Cut(use, " ")
	return func(c *cobra.Command, words []string) error {
		most := 1
		if names == "" {
			most = 0
		}
		required := names != "" && !strings.HasPrefix(names, "[")
		switch {
		case required && len(words) == 0:
			return misused("%s is missing; see %s --help",
				strings.TrimSuffix(names, "..."), c.CommandPath())
		case len(words) > most && !strings.HasSuffix(names, "..."):
			return misused("unexpected argument %q; see %s --help", words[most], c.CommandPath())
		}
		return nil
	}
}
