package matrix_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/proof/cutproxy"
)

// The lost-reply matrix: each scenario, on each ground and setup, with each of its replies lost 0
// to 4 times. In each cell the operation is to have one effect, and the answer that it has
// undisturbed; or an error after which it is repeated and has it then.

var matrixFile = flag.String("matrix", "",
	"try all cells, also on a Cluster, and write the matrix to this file, as a table in Markdown")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// maxCuts is one more than go-redis repeats a command by default, so that the caller has to.
const maxCuts = 4

// ground is what labs stand on. Its setups are tried one after another, since they make it forget
// its scripts.
type ground struct {
	name    string
	start   func(*testing.T) dialler
	setups  []setup
	sampled bool // not all is tried unless the flag -matrix asks for all
}

// trials are the scenarios that each setup is tried in, and how many losses of each reply.
type trials struct {
	scenarios []scenario
	cuts      []int
}

func (g ground) trials() trials {
	if g.sampled && *matrixFile == "" {
		return sample
	}
	return trials{scenarios, []int{0, 1, 2, 3, maxCuts}}
}

// sample is quick: a third of the scenarios, another one in each run, so that in time all are
// tried.
var sample = trials{everyThird(scenarios, rand.IntN(3)), []int{1, maxCuts}}

func everyThird(all []scenario, from int) (some []scenario) {
	for i := from; i < len(all); i += 3 {
		some = append(some, all[i])
	}
	return some
}

// dialler makes a client for a setup on a ground, closed with the test.
type dialler func(*testing.T, setup, redis.UniversalOptions) redis.UniversalClient

// setup is a way to use a ground.
type setup struct {
	name      string
	pipeline  goredis.AutoPipeline
	positions []position
	oldMap    bool // the client believes that the slots of each master are the next one's
}

// position is a reply that can be lost.
type position struct {
	name    string
	unknown bool // the server has forgotten its scripts
	rule    cutproxy.Rule

	neighbour bool // the reply is another call's
}

var (
	alone = []position{
		{name: "script by hash", rule: about("EVALSHA", "", executed)},
		{name: "unknown hash", unknown: true, rule: about("EVALSHA", "", "-NOSCRIPT")},
		{name: "script in full", unknown: true, rule: about("EVAL", "", executed)},
	}
	redirected = append(alone[:len(alone):len(alone)],
		position{name: "redirection", rule: about("EVALSHA", "", "-MOVED")})
	amongOthers = append(alone[:len(alone):len(alone)],
		position{name: "the one before in the pipeline", rule: about("EVALSHA", before, executed),
			neighbour: true},
		position{name: "the one after in the pipeline", rule: about("EVALSHA", after, executed),
			neighbour: true})

	alike = []setup{
		{name: "each by itself", pipeline: goredis.AutoPipelineNever, positions: alone},
	}
	grounds = []ground{
		{"standalone", onStandalone, append(alike[:1:1],
			setup{name: "gathered", pipeline: goredis.AutoPipelineAlways, positions: amongOthers}), false},
		{"cluster", onCluster, append(alike[:1:1],
			setup{name: "by an old map of slots", pipeline: goredis.AutoPipelineNever,
				positions: redirected, oldMap: true}), true},
	}
)

// The stores whose mailboxes are looked into right before and after an operation in the same
// pipeline.
const (
	before = "neighbour-1"
	after  = "neighbour-2"
)

// executed stands for the beginnings of replies of scripts that have been executed.
const executed = ""

// about is the rule for replies to a command that names this neighbour, or none, and that begin so.
func about(name, neighbour, beginning string) cutproxy.Rule {
	return func(command [][]byte, reply []byte) bool {
		named := ""
		for _, word := range command {
			if i := bytes.Index(word, []byte("neighbour-")); i >= 0 {
				named = string(word[i : i+len(before)])
			}
		}
		return cutproxy.Name(command) == name && named == neighbour && notExecuted(reply) == beginning
	}
}

// notExecuted returns how a reply begins that says that a server does not know the script, or has
// not got its keys.
func notExecuted(reply []byte) string {
	for _, beginning := range []string{"-NOSCRIPT", "-MOVED"} {
		if bytes.HasPrefix(reply, []byte(beginning)) {
			return beginning
		}
	}
	return executed
}

func onStandalone(t *testing.T) dialler {
	server := redistest.Start(t)
	return func(t *testing.T, _ setup, opts redis.UniversalOptions) redis.UniversalClient {
		opts.Addrs = []string{server.Addr}
		return server.ClientWith(t, *opts.Simple())
	}
}

func onCluster(t *testing.T) dialler {
	cluster := redistest.StartCluster(t)
	return func(t *testing.T, s setup, opts redis.UniversalOptions) redis.UniversalClient {
		opts.Addrs = []string{cluster.Masters[0].Addr}
		all := opts.Cluster()
		if s.oldMap {
			all.ClusterSlots = oldMap(cluster)
		}
		return cluster.ClientWith(t, *all)
	}
}

// oldMap returns a wrong map for a client's ClusterSlots. go-redis then writes the address of a
// node without its loopback host, unlike the redirection by a server. So a node that it has only
// been redirected to is in no map, and the client closes its connections a minute later. A call at
// that moment fails with "client is closed". The caller repeats it, as any call that fails.
func oldMap(cluster *redistest.Cluster) func(context.Context) ([]redis.ClusterSlot, error) {
	var slots []redis.ClusterSlot
	for i := range cluster.Masters {
		next := cluster.Masters[(i+1)%len(cluster.Masters)]
		slots = append(slots, redis.ClusterSlot{Start: redistest.Slots * i / 3,
			End:   redistest.Slots*(i+1)/3 - 1,
			Nodes: []redis.ClusterNode{{Addr: next.Addr}}})
	}
	return func(context.Context) ([]redis.ClusterSlot, error) { return slots, nil }
}

func TestLostReplyMatrix(t *testing.T) {
	redistest.Need(t)
	table := &table{cells: map[string]string{}}
	t.Run("on", func(t *testing.T) {
		for _, g := range grounds {
			t.Run(g.name, func(t *testing.T) {
				t.Parallel()
				connect := g.start(t)
				for _, s := range g.setups {
					t.Run(s.name, func(t *testing.T) { table.fill(g, newLab(t, s, connect)) })
				}
			})
		}
	})
	if !t.Failed() {
		table.checkComplete(t)
	}
	if *matrixFile != "" {
		if err := os.WriteFile(*matrixFile, []byte(table.markdown()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// lab has one client behind a proxy that loses replies, and one that is not.
type lab struct {
	*testing.T
	setup
	proxy     *cutproxy.Proxy
	direct    redis.UniversalClient
	cutOff    redis.UniversalClient
	pipeliner *redis.AutoPipeliner // nil without pipelining

	answer, stored string // of the scenario undisturbed
}

func newLab(t *testing.T, s setup, connect dialler) *lab {
	// The direct client has no old map: go-redis closes nodes that its map lacks after a minute.
	l := &lab{T: t, setup: s, proxy: cutproxy.New(), direct: connect(t, setup{}, redis.UniversalOptions{})}
	t.Cleanup(l.proxy.Close)
	l.cutOff = connect(t, s, redis.UniversalOptions{Dialer: l.proxy.Dial,
		MinRetryBackoff: time.Microsecond,
		MaxRetryBackoff: time.Microsecond})
	if l.pipeline != goredis.AutoPipelineNever {
		l.pipeliner = l.newPipeliner()
	}
	return l
}

// newPipeliner makes the client's autopipeliner, which the backend then uses, too.
func (l *lab) newPipeliner() *redis.AutoPipeliner {
	l.Helper()
	opts := redis.DefaultAutoPipelineOptions()
	opts.FullDuplex = true
	pipeliner, err := l.cutOff.AsyncAutoPipelineWithOptions(opts)
	if err != nil {
		l.Fatal(err)
	}
	return pipeliner
}

func (l *lab) backend(client redis.UniversalClient, prefix string) *goredis.Backend {
	l.Helper()
	opts := &goredis.Options{Prefix: prefix}
	if client == l.cutOff {
		opts.AutoPipeline = l.pipeline
	}
	b, err := goredis.New(client, opts)
	if err != nil {
		l.Fatal(err)
	}
	return b
}

// expect finds out what a scenario's operation answers and leaves behind undisturbed.
func (l *lab) expect(sc scenario) {
	l.Helper()
	prefix := backends.NewID("") + ":"
	b := l.backend(l.direct, prefix)
	c := &calls.Call{Op: sc.arrange(&calls.Stage{T: l.T, B: b})}
	if c.Perform(l.Context(), b); !c.Answered() {
		l.Fatalf("%s, undisturbed: %v", sc.name, c.Err)
	}
	l.answer, l.stored = c.Shape(), storageShape(l.T, l.direct, b, prefix)
}

// try runs one cell and says how it went.
func (l *lab) try(sc scenario, p position, cuts int) string {
	l.Helper()
	prefix := backends.NewID("") + ":"
	b := l.backend(l.direct, prefix)
	c := &calls.Call{Op: sc.arrange(&calls.Stage{T: l.T, B: b})}
	untouched := storageShape(l.T, l.direct, b, prefix)
	if p.unknown {
		l.direct.ScriptFlush(l.Context())
	}
	l.perform(c, l.backend(l.cutOff, prefix), p, cuts)
	outcome := "same answer"
	if !c.Answered() {
		outcome = "error, repeated"
		if got := storageShape(l.T, l.direct, b, prefix); got != untouched && got != l.stored {
			l.Errorf("%s, %s, %d cuts: half an effect:\n%s\nwant\n%s\nor\n%s", sc.name, p.name, cuts, got,
				untouched, l.stored)
		}
		c.Perform(l.Context(), l.backend(l.cutOff, prefix))
	}
	if got := c.Shape(); got != l.answer {
		l.Errorf("%s, %s, %d cuts: got\n%s\nwant\n%s\nerror %v", sc.name, p.name, cuts, got, l.answer,
			c.Err)
	}
	if got := storageShape(l.T, l.direct, b, prefix); got != l.stored {
		l.Errorf("%s, %s, %d cuts: stored\n%s\nwant\n%s", sc.name, p.name, cuts, got, l.stored)
	}
	return outcome
}

// perform makes the call while replies are lost, and checks that they were. Where calls are
// pipelined, it is the second of three.
func (l *lab) perform(c *calls.Call, b *goredis.Backend, p position, cuts int) {
	l.Helper()
	already := l.proxy.Cuts()
	_, single := l.cutOff.(*redis.Client)
	if _, reads := c.Op.(calls.Get); reads && single && !p.neighbour { // Get needs no script there
		p.rule = about("GET", "", executed)
	}
	if l.pipeliner == nil {
		l.proxy.Cut(cuts, p.rule)
		c.Perform(l.Context(), b)
	} else {
		l.performAmongOthers(c, b, p, cuts)
	}
	if lost := l.proxy.Cuts() - already; lost != int64(cuts) && c.Answered() {
		l.Errorf("%s: %d replies were lost, want %d", p.name, lost, cuts)
	}
	l.proxy.Cut(0, p.rule)
}

func (l *lab) performAmongOthers(c *calls.Call, b *goredis.Backend, p position, cuts int) {
	l.Helper()
	release := l.proxy.Hold()
	defer release()
	sent := l.pipeliner.Len() + int(l.proxy.Forwarded())
	l.proxy.Cut(cuts, p.rule)
	done := make(chan struct{}, 3)
	calls := []*calls.Call{neighbour(c, before), c, neighbour(c, after)}
	for i, c := range calls {
		go func() {
			c.Perform(l.Context(), b)
			done <- struct{}{}
		}()
		l.until(func() bool { return l.pipeliner.Len()+int(l.proxy.Forwarded()) > sent+i })
	}
	release()
	for range calls {
		<-done
	}
}

// neighbour is a call of another script than c's.
func neighbour(c *calls.Call, store string) *calls.Call {
	if _, looks := c.Op.(calls.Look); looks {
		return &calls.Call{Op: calls.Lasting(store).Extending(backends.NewID(calls.Box))}
	}
	return &calls.Call{Op: calls.Lasting(store).Look()}
}

func (l *lab) until(condition func() bool) {
	l.Helper()
	if !calls.Await(10*time.Second, 50*time.Microsecond, condition) {
		l.Fatal("gave up waiting until a command is on its way")
	}
}

// table is what came of each cell.
type table struct {
	mu    sync.Mutex
	cells map[string]string
}

func cell(g ground, s setup, sc scenario, p position, cuts int) string {
	return fmt.Sprint(g.name, "|", s.name, "|", sc.name, "|", p.name, "|", cuts)
}

// fill tries all cells of a lab's setup.
func (tb *table) fill(g ground, l *lab) {
	for _, sc := range g.trials().scenarios {
		l.expect(sc)
		for _, p := range l.positions {
			for _, cuts := range g.trials().cuts {
				outcome := l.try(sc, p, cuts)
				if l.Failed() {
					return
				}
				tb.mu.Lock()
				tb.cells[cell(g, l.setup, sc, p, cuts)] = outcome
				tb.mu.Unlock()
			}
		}
	}
}

// checkComplete checks that no cell is missing.
func (tb *table) checkComplete(t *testing.T) {
	t.Helper()
	tb.each(func(g ground, s setup, sc scenario, p position) {
		for _, cuts := range g.trials().cuts {
			if tb.cells[cell(g, s, sc, p, cuts)] == "" {
				t.Errorf("the matrix has no cell %s", cell(g, s, sc, p, cuts))
			}
		}
	})
	t.Logf("%d cells", len(tb.cells))
}

func (tb *table) each(f func(ground, setup, scenario, position)) {
	for _, g := range grounds {
		for _, s := range g.setups {
			for _, sc := range g.trials().scenarios {
				for _, p := range s.positions {
					f(g, s, sc, p)
				}
			}
		}
	}
}

func (tb *table) markdown() string {
	var text strings.Builder
	text.WriteString("| on | setup | operation | lost reply | 0 | 1 | 2 | 3 | 4 |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	tb.each(func(g ground, s setup, sc scenario, p position) {
		fmt.Fprintf(&text, "| %s | %s | %s | %s |", g.name, s.name, sc.name, p.name)
		for _, cuts := range g.trials().cuts {
			fmt.Fprintf(&text, " %s |", tb.cells[cell(g, s, sc, p, cuts)])
		}
		text.WriteByte('\n')
	})
	return text.String()
}
