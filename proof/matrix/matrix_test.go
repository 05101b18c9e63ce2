package matrix_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/proof/cutproxy"
)

// The lost-reply matrix tries each scenario on each ground and setup, and loses each reply 0 to 4
// times. In each cell the operation must have one effect and the same answer as without losses. It
// may fail first, but must have both once the caller repeats it.

var matrixFile = flag.String("matrix", "",
	"try all cells, also on a Cluster, and write the matrix to this file, as a table in Markdown")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// maxCuts is one more than the default number of retries of go-redis, so the caller has to repeat.
const maxCuts = 4

// ground is a server or a Cluster. Its setups run one after another, since they flush its scripts.
type ground struct {
	name    string
	start   func(*testing.T) dialler
	setups  []setup
	sampled bool // also in full, the test tries only a sample; see the flag -matrix
}

// trials are the scenarios to try in each setup, and how many times to lose each reply.
type trials struct {
	scenarios []calls.Scenario
	cuts      []int
}

// trials returns all cells of the ground, or a sample. Calls are made one by one or in threes, so
// the race detector does not need all.
func (g ground) trials() trials {
	if *matrixFile == "" && effort.Plain(true, g.sampled) {
		return sample
	}
	return trials{calls.Scenarios, []int{0, 1, 2, 3, maxCuts}}
}

// sample is a random third of the scenarios, so that many runs try all of them.
var sample = trials{effort.Third(calls.Scenarios), []int{1, maxCuts}}

// dialler makes a client for a setup on a ground. The client closes with the test.
type dialler func(*testing.T, setup, redis.UniversalOptions) redis.UniversalClient

// setup is how a client uses a ground.
type setup struct {
	name      string
	pipeline  goredis.AutoPipeline
	positions []position
	oldMap    bool // the client's map gives the slots of each master to the next master
}

// position is a reply that can be lost.
type position struct {
	name    string
	unknown bool // the server has forgotten its scripts
	rule    cutproxy.Rule

	neighbour bool // the reply belongs to another call

	command string // the position is only for scenarios that send this command; "": for all
}

var (
	alone = []position{
		{name: "script by hash", rule: about("EVALSHA", "", executed)},
		{name: "unknown hash", unknown: true, rule: about("EVALSHA", "", "-NOSCRIPT")},
		{name: "script in full", unknown: true, rule: about("EVAL", "", executed)},
		{name: "staged payload", command: "SET", rule: about("SET", "", executed)},
		{name: "payloads", command: "MGET", rule: about("MGET", "", executed)},
	}
	redirected = append(alone[:len(alone):len(alone)],
		position{name: "redirection", rule: about("EVALSHA", "", "-MOVED")})
	amongOthers = append(alone[:len(alone):len(alone)],
		position{name: "the one before in the pipeline", neighbour: true,
			rule: about("EVALSHA", before, executed)},
		position{name: "the one after in the pipeline", neighbour: true,
			rule: about("EVALSHA", after, executed)})

	oneByOne = setup{name: "each by itself", pipeline: goredis.AutoPipelineNever, positions: alone}
	gathered = setup{name: "gathered", pipeline: goredis.AutoPipelineAlways,
		positions: amongOthers}
	byOldMap = setup{name: "by an old map of slots", pipeline: goredis.AutoPipelineNever,
		positions: redirected, oldMap: true}

	grounds = []ground{
		{name: "standalone", start: onStandalone, setups: []setup{oneByOne, gathered}},
		{name: "cluster", start: onCluster, setups: []setup{oneByOne, byOldMap}, sampled: true},
	}
)

// The stores of the neighbours: the calls right before and right after an operation in the same
// pipeline.
const (
	before = "neighbour-1"
	after  = "neighbour-2"
)

// executed stands for the beginning of every reply except -NOSCRIPT and -MOVED.
const executed = ""

// about returns a rule that loses replies with this beginning to commands with this name. The
// command must name the store of this neighbour, or no neighbour's store if neighbour is "".
func about(name, neighbour, beginning string) cutproxy.Rule {
	return func(command [][]byte, reply []byte) bool {
		named := ""
		for _, word := range command {
			if i := bytes.Index(word, []byte("neighbour-")); i >= 0 {
				named = string(word[i : i+len(before)])
			}
		}
		return cutproxy.Name(command) == name && named == neighbour &&
			beginningOf(reply) == beginning
	}
}

// beginningOf returns "-NOSCRIPT" if the server does not know the script, "-MOVED" if another
// server has the keys, and executed otherwise.
func beginningOf(reply []byte) string {
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

// oldMap returns a wrong map for a client's ClusterSlots. go-redis removes a loopback host from the
// addresses of such a map, but not from the target of a redirection. So the map never contains the
// target, and go-redis closes its connections to the target a minute later. A call at that moment
// fails with "client is closed". The caller repeats the call, as after any failure.
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
	table := &table{cells: map[string]string{}, sends: map[string]bool{}}
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
