package main

import (
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// options are the flags of the command line and the environment.
type options struct {
	server    string
	path      string // the path on the server where package remote's routes are
	token     string
	store     string
	runtime   string
	output    string
	timeout   time.Duration
	name      string // the name for an imported skill
	overwrite string // the id of a skill
	verbose   bool
	limit     int // rows
	reason    string
	interval  time.Duration
	times     int
}

const (
	outputTable = "table"
	outputJSON  = "json"
)

// defaultTimeout is longer than a request to a runtime stays live, except an update. So the server
// reports a timeout before the program gives up. A runtime can extend its update again and again.
const defaultTimeout = 5 * time.Minute

// commonFlags adds the flags of all commands. They may stand before a command or after it.
func commonFlags(flags *pflag.FlagSet, o *options) {
	flags.StringVar(&o.server, "server", "http://127.0.0.1:8080",
		"`URL` of an API node, or of a load balancer for several nodes")
	flags.StringVar(&o.path, "path", "/pending",
		"`PATH` on the server where the routes of package remote are")
	flags.StringVar(&o.token, "token", "", "your `TOKEN`")
	flags.StringVar(&o.store, "store", "",
		"`NAME` of the store, for ls, show, watch, cancel and top")
	flags.StringVar(&o.runtime, "runtime", "",
		"`ID` of the runtime to ask, for skills, ping, update and models")
	flags.StringVarP(&o.output, "output", "o", outputTable, "output `FORMAT`: table or json")
	flags.DurationVar(&o.timeout, "timeout", defaultTimeout,
		"how long to wait for an answer; without this flag, watch and update wait until the end")
}

// fromEnvironment sets each flag that the command line leaves out, such as --server from
// PENDINGCTL_SERVER. Help texts show only the built-in defaults, so they never show a token.
func fromEnvironment(flags *pflag.FlagSet, env func(string) string) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := "PENDINGCTL_" + strings.ToUpper(f.Name)
		if value := env(name); value != "" && !f.Changed && f.Name != "help" {
			if flags.Set(f.Name, value) != nil {
				err = misused("%s is not a value for --%s", name, f.Name)
			}
		}
	})
	return err
}

var singleDash = regexp.MustCompile(`^-([a-z][a-z-]+)(=|$)`)

// doubleDashes adds a dash to a long flag with a single dash, such as -runtime. Earlier versions
// had such flags. The value of a flag stays as it is.
func doubleDashes(root *cobra.Command, args []string) []string {
	long, takesValue := map[string]bool{"help": true}, map[string]bool{"-o": true}
	var learn func(*cobra.Command)
	learn = func(c *cobra.Command) {
		note := func(f *pflag.Flag) {
			long[f.Name], takesValue["--"+f.Name] = true, f.NoOptDefVal == ""
		}
		c.PersistentFlags().VisitAll(note)
		c.Flags().VisitAll(note)
		for _, child := range c.Commands() {
			learn(child)
		}
	}
	learn(root)
	var all []string
	isValue := false
	for i, arg := range args {
		if arg == "--" {
			return append(all, args[i:]...)
		}
		isValue = !isValue && i > 0 && takesValue[all[i-1]]
		if parts := singleDash.FindStringSubmatch(arg); !isValue && parts != nil && long[parts[1]] {
			arg = "-" + arg
		}
		all = append(all, arg)
	}
	return all
}

func (o options) check() error {
	switch {
	case o.token == "":
		return misused("no token is given; set --token TOKEN or PENDINGCTL_TOKEN")
	case strings.ContainsFunc(o.token, unicode.IsControl):
		return misused("--token or PENDINGCTL_TOKEN has a line break or a control character")
	case o.output != outputTable && o.output != outputJSON:
		return misused("-o %s is neither table nor json", o.output)
	case o.timeout <= 0:
		return misused("--timeout must be longer than 0")
	}
	return nil
}
