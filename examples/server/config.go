package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/pendingq/pendingq/pending"
)

// options come from flags, the environment and the configuration file. The first of these that sets
// an option wins.
type options struct {
	config  string
	listen  string
	metrics string
	backend string
	prefix  string
	tokens  string
	skills  string
	log     string
	drain   time.Duration
	debug   bool
	demo    bool
	stores  []pending.Policy // only from the configuration file
}

// The formats of the log.
const (
	logAuto = "auto"
	logText = "text"
	logJSON = "json"
)

const usage = `Usage: server -tokens FILE -skills DIR [flags]
       server -demo [flags]

An API node. Front ends ask it, runtimes and devices poll it, people look at its dashboard.

  /api/         the local skills of runtimes
  /pending/     any store, by package remote
  /dashboard/   for people; the password is the token of an owner or admin
  /livez        the process answers
  /readyz       the node can work; answers 503 as soon as a shutdown begins

The metrics address has /metrics for Prometheus, and /livez and /readyz too. Any number of nodes
may share one backend (-backend). The nodes of one machine may share one folder of imported skills
(-skills).

After SIGINT or SIGTERM, /readyz answers 503. The server serves for -drain longer, answers all
parked requests, gives the others 20 s, and exits. A second signal ends it at once.

Each flag has an environment variable: PENDINGQ_LISTEN for -listen, PENDINGQ_BACKEND for -backend,
and so on. A flag can also be set in the configuration file (-config), which is YAML:

  listen: 0.0.0.0:8080
  stores:                        # for /pending/; without it the store of examples/device
    - {name: backup, pending: 10m, running: 1m, retention: 1h, cancel_grace: 10s, max_attempts: 3}

A store also has exclusive, max_pending, max_payload and outcomes. A flag overrides its variable,
and a variable overrides the file.

The tokens file is YAML or JSON. The server reads it when it starts. Clients send
"Authorization: Bearer TOKEN":

  people:
    - user: ada
      token: at-least-16-characters     # or sha256: the token's SHA-256 in hex
      # owner, admin or member; "*" is every other runtime
      runtimes: {laptop: owner, "*": member}
  daemons:
    - runtime: laptop
      token: also-16-characters-or-more
  deleted_runtimes: [old-laptop]        # their daemons are told to forget them

The log goes to stderr. If stdout is not a terminal, the server writes one line to it when it
listens:

  msg=listening addr=HOST:PORT metrics=HOST:PORT

Exits with 0 after a signal, with 1 if it could not serve or had to cut requests off, and with 2
for an option, an argument or a file that is wrong or cannot be used.

`

const demoMetrics = "127.0.0.1:9464"

func newFlags(o *options) *flag.FlagSet {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints mistakes
	flags.StringVar(&o.config, "config", "", "configuration `FILE`")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080",
		"`ADDRESS` to serve at; port 0 takes a free port, which the log names")
	flags.StringVar(&o.metrics, "metrics", "",
		"`ADDRESS` of /metrics, which only Prometheus should reach (default none; "+
			demoMetrics+" with -demo)")
	flags.StringVar(&o.backend, "backend", "memory:",
		"`URL` of the nodes' backend: memory:, redis://, rediss://, unix:// or postgres://; "+
			"for a Redis Cluster add ?cluster=true, for Sentinel ?master_name=NAME")
	flags.StringVar(&o.prefix, "prefix", "pendingq:", "what the keys in Redis start with")
	flags.StringVar(&o.tokens, "tokens", "", "`FILE` that says who may do what (required)")
	flags.StringVar(&o.skills, "skills", "",
		"`DIR` for imported skills; only nodes on one machine may share it (required)")
	flags.StringVar(&o.log, "log", logAuto,
		"`FORMAT` of the log: text, json, or auto, which is text on a terminal and json elsewhere")
	flags.DurationVar(&o.drain, "drain", 0,
		"how long to serve after /readyz answers 503, so that load balancers notice")
	flags.BoolVar(&o.debug, "debug", false, "log idle heartbeats too")
	flags.BoolVar(&o.demo, "demo", false,
		"serve only a dashboard and metrics, over sample requests in memory; "+
			"everybody may see and cancel the requests")
	return flags
}

// parse reads all options.
func parse(args []string, s surroundings) (o options, err error) {
	flags := newFlags(&o)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(s.stdout, usage)
			flags.SetOutput(s.stdout)
			flags.PrintDefaults()
		}
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err := fillIn(flags, &o, s.env); err != nil {
		return o, err
	}
	return o.check()
}

func variable(flag string) string { return "PENDINGQ_" + strings.ToUpper(flag) }

// fillIn sets the flags that the command line leaves out: from the environment, or otherwise from
// the configuration file.
func fillIn(flags *flag.FlagSet, o *options, env func(string) string) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var problems []error
	set := func(f *flag.Flag, value, from string) {
		if value == "" || given[f.Name] {
			return
		}
		given[f.Name] = true
		if err := f.Value.Set(value); err != nil {
			problems = append(problems, fmt.Errorf("%s is not %s", from, wanted(f)))
		}
	}
	flags.VisitAll(func(f *flag.Flag) { set(f, env(variable(f.Name)), variable(f.Name)) })
	if o.config == "" || len(problems) > 0 {
		return errors.Join(problems...)
	}
	file, err := readConfig(o.config)
	if err != nil {
		return err
	}
	for name, value := range file.Flags {
		if strings.Contains(name, ":") { // the name may have a password
			return fmt.Errorf("%s: a space is missing after the colon of an option", o.config)
		}
		f := flags.Lookup(name)
		if f == nil || name == "config" {
			return fmt.Errorf("%s: there is no option %q", o.config, name)
		}
		set(f, value, o.config+": "+name)
	}
	if o.stores, err = file.policies(); err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", o.config, err))
	}
	return errors.Join(problems...)
}

// wanted says what the value of a flag looks like.
func wanted(f *flag.Flag) string {
	if _, ok := f.Value.(flag.Getter).Get().(time.Duration); ok {
		return "a duration such as 5s"
	}
	return "true or false"
}

// configFile is the configuration file.
type configFile struct {
	Stores []policy          `yaml:"stores"`
	Flags  map[string]string `yaml:",inline"`
}

// policy is a [pending.Policy] in the file.
type policy struct {
	Name        string           `yaml:"name"`
	Pending     time.Duration    `yaml:"pending"`
	Running     time.Duration    `yaml:"running"`
	Retention   time.Duration    `yaml:"retention"`
	CancelGrace time.Duration    `yaml:"cancel_grace"`
	MaxAttempts int              `yaml:"max_attempts"`
	Exclusive   bool             `yaml:"exclusive"`
	MaxPending  int              `yaml:"max_pending"`
	MaxPayload  int              `yaml:"max_payload"`
	Outcomes    []pending.Status `yaml:"outcomes"`
}

func readConfig(path string) (f configFile, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return f, &optionError{"config", err}
	}
	if err := decodeYAML(text, &f); err != nil {
		return f, fmt.Errorf("%s is not a configuration file: %w", path, err)
	}
	return f, nil
}

func (f configFile) policies() (all []pending.Policy, err error) {
	seen := map[string]bool{}
	for _, p := range f.Stores {
		if seen[p.Name] {
			return nil, fmt.Errorf("stores: two stores are named %q", p.Name)
		}
		seen[p.Name] = true
		all = append(all, pending.Policy{Name: p.Name, PendingTimeout: p.Pending,
			RunningTimeout: p.Running, Retention: p.Retention, CancelGrace: p.CancelGrace,
			MaxAttempts: p.MaxAttempts, Exclusive: p.Exclusive, MaxPending: p.MaxPending,
			MaxPayload: cmp.Or(p.MaxPayload, 64<<10), Outcomes: p.Outcomes})
	}
	return all, nil
}

// check checks the options, and fills in defaults that depend on other options.
func (o options) check() (options, error) {
	if o.log != logAuto && o.log != logText && o.log != logJSON {
		return o, fmt.Errorf("-log %q is none of auto, text and json", o.log)
	}
	if o.drain < 0 {
		return o, errors.New("-drain must not be negative")
	}
	if len(o.stores) == 0 {
		o.stores = []pending.Policy{deviceBackups}
	}
	switch {
	case o.listen == "":
		return o, errors.New("-listen is empty")
	case o.backend == "":
		return o, errors.New("-backend is empty")
	case o.demo:
		o.metrics = cmp.Or(o.metrics, demoMetrics)
	case o.tokens == "":
		return o, errors.New("-tokens is required")
	case o.skills == "":
		return o, errors.New("-skills is required")
	}
	return o, nil
}
