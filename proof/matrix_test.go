package proof_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/proof/cutproxy"
)

// The lost-reply matrix: each scenario, through each setup, with each of its replies lost 0 to 4 times. In each
// cell the operation is to have one effect, and the answer that it has undisturbed; or an error after which it is
// repeated and has it then.

// maxCuts is one more than go-redis repeats a command by default, so that the caller has to.
const maxCuts = 4

// setup is a way to reach a server. A Cluster's would be another element of setups.
type setup struct {
	name      string
	pipeline  goredis.AutoPipeline
	positions []position
}

// position is a reply that can be lost.
type position struct {
	name    string
	unknown bool // the server has forgotten its scripts
	rule    cutproxy.Rule
}

var (
	alone = []position{
		{"script by hash", false, about("EVALSHA", "", false)},
		{"unknown hash", true, about("EVALSHA", "", true)},
		{"script in full", true, about("EVAL", "", false)},
	}
	amongOthers = append(alone[:len(alone):len(alone)],
		position{"the one before in the pipeline", false, about("EVALSHA", before, false)},
		position{"the one after in the pipeline", false, about("EVALSHA", after, false)})

	setups = []setup{
		{"standalone", goredis.AutoPipelineOff, alone},
		{"standalone, pipelined half-duplex", goredis.AutoPipelineHalfDuplex, amongOthers},
		{"standalone, pipelined full-duplex", goredis.AutoPipelineFullDuplex, amongOthers},
	}
)

// The stores whose mailboxes are looked into right before and after an operation in the same pipeline.
const (
	before = "neighbour-1"
	after  = "neighbour-2"
)

// about is the rule for replies to a command that names this neighbour, or none, and that say NOSCRIPT or do not.
func about(name, neighbour string, noScript bool) cutproxy.Rule {
	return func(command [][]byte, reply []byte) bool {
		named := ""
		for _, word := range command {
			if i := bytes.Index(word, []byte("neighbour-")); i >= 0 {
				named = string(word[i : i+len(before)])
			}
		}
		return cutproxy.Name(command) == name && named == neighbour && bytes.HasPrefix(reply, []byte("-NOSCRIPT")) == noScript
	}
}

func TestLostReplyMatrix(t *testing.T) {
	redistest.Need(t)
	table := &table{cells: map[string]string{}}
	t.Run("setups", func(t *testing.T) {
		for _, s := range setups {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				table.fill(s, newLab(t, redistest.Start(t), s.pipeline))
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
	proxy     *cutproxy.Proxy
	direct    *redis.Client
	cutOff    *redis.Client
	pipeline  goredis.AutoPipeline
	pipeliner *redis.AutoPipeliner // nil without pipelining

	answer, stored string // of the scenario undisturbed
}

func newLab(t *testing.T, server *redistest.Server, pipeline goredis.AutoPipeline) *lab {
	l := &lab{T: t, proxy: cutproxy.New(), direct: server.Client(t), pipeline: pipeline}
	t.Cleanup(l.proxy.Close)
	l.cutOff = server.ClientWith(t, redis.Options{Dialer: l.proxy.Dial, MinRetryBackoff: time.Microsecond,
		MaxRetryBackoff: time.Microsecond})
	if pipeline != goredis.AutoPipelineOff {
		l.pipeliner = l.newPipeliner()
	}
	return l
}

// newPipeliner makes the client's autopipeliner, which the backend then uses, too. Half-duplex, it waits until it has
// three commands.
func (l *lab) newPipeliner() *redis.AutoPipeliner {
	l.Helper()
	opts := redis.DefaultAutoPipelineOptions()
	opts.FullDuplex = l.pipeline == goredis.AutoPipelineFullDuplex
	if !opts.FullDuplex {
		opts.MaxBatchSize, opts.MaxFlushDelay = 3, 2*time.Millisecond
	}
	pipeliner, err := l.cutOff.AsyncAutoPipelineWithOptions(opts)
	if err != nil {
		l.Fatal(err)
	}
	return pipeliner
}

func (l *lab) backend(client *redis.Client, prefix string) *goredis.Backend {
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
	c := &call{op: sc.arrange(&stage{l.T, b})}
	c.perform(l.Context(), b)
	l.answer, l.stored = c.shape(), storageShape(l.T, l.direct, b, prefix)
}

// try runs one cell and says how it went.
func (l *lab) try(sc scenario, p position, cuts int) string {
	l.Helper()
	prefix := backends.NewID("") + ":"
	b := l.backend(l.direct, prefix)
	c := &call{op: sc.arrange(&stage{l.T, b})}
	untouched := storageShape(l.T, l.direct, b, prefix)
	if p.unknown {
		l.direct.ScriptFlush(l.Context())
	}
	l.perform(c, l.backend(l.cutOff, prefix), p, cuts)
	outcome := "same answer"
	if !c.answered() {
		outcome = "error, repeated"
		if got := storageShape(l.T, l.direct, b, prefix); got != untouched && got != l.stored {
			l.Errorf("%s, %s, %d cuts: half an effect:\n%s\nwant\n%s\nor\n%s", sc.name, p.name, cuts, got, untouched, l.stored)
		}
		c.perform(l.Context(), l.backend(l.cutOff, prefix))
	}
	if got := c.shape(); got != l.answer {
		l.Errorf("%s, %s, %d cuts: got\n%s\nwant\n%s\nerror %v", sc.name, p.name, cuts, got, l.answer, c.err)
	}
	if got := storageShape(l.T, l.direct, b, prefix); got != l.stored {
		l.Errorf("%s, %s, %d cuts: stored\n%s\nwant\n%s", sc.name, p.name, cuts, got, l.stored)
	}
	return outcome
}

// perform makes the call while replies are lost, and checks that they were. Where calls are pipelined, it is the
// second of three.
func (l *lab) perform(c *call, b *goredis.Backend, p position, cuts int) {
	l.Helper()
	already := l.proxy.Cuts()
	if l.pipeliner == nil {
		l.proxy.Cut(cuts, p.rule)
		c.perform(l.Context(), b)
	} else {
		l.performAmongOthers(c, b, p, cuts)
	}
	if lost := l.proxy.Cuts() - already; lost != int64(cuts) && c.answered() {
		l.Errorf("%s: %d replies were lost, want %d", p.name, lost, cuts)
	}
	l.proxy.Cut(0, p.rule)
}

func (l *lab) performAmongOthers(c *call, b *goredis.Backend, p position, cuts int) {
	l.Helper()
	release := func() {}
	if l.pipeline == goredis.AutoPipelineFullDuplex { // which sends each command at once
		release = l.proxy.Hold()
	}
	defer release()
	sent := l.pipeliner.Len() + int(l.proxy.Forwarded())
	l.proxy.Cut(cuts, p.rule)
	done := make(chan struct{}, 3)
	calls := []*call{neighbour(c, before), c, neighbour(c, after)}
	for i, c := range calls {
		go func() {
			c.perform(l.Context(), b)
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
func neighbour(c *call, store string) *call {
	if _, looks := c.op.(look); looks {
		return &call{op: get{lasting(store), backends.NewID(box)}}
	}
	return &call{op: look{lasting(store), box}}
}

func (l *lab) until(condition func() bool) {
	l.Helper()
	deadline := time.After(10 * time.Second)
	for !condition() {
		select {
		case <-time.After(50 * time.Microsecond):
		case <-deadline:
			l.Fatal("gave up waiting until a command is on its way")
		}
	}
}

// table is what came of each cell.
type table struct {
	mu    sync.Mutex
	cells map[string]string
}

func cell(s setup, sc scenario, p position, cuts int) string {
	return fmt.Sprint(s.name, "|", sc.name, "|", p.name, "|", cuts)
}

// fill tries all cells of a setup.
func (tb *table) fill(s setup, l *lab) {
	for _, sc := range scenarios {
		l.expect(sc)
		for _, p := range s.positions {
			for cuts := 0; cuts <= maxCuts; cuts++ {
				outcome := l.try(sc, p, cuts)
				if l.Failed() {
					return
				}
				tb.mu.Lock()
				tb.cells[cell(s, sc, p, cuts)] = outcome
				tb.mu.Unlock()
			}
		}
	}
}

// checkComplete checks that no cell is missing.
func (tb *table) checkComplete(t *testing.T) {
	t.Helper()
	tb.each(func(s setup, sc scenario, p position) {
		for cuts := 0; cuts <= maxCuts; cuts++ {
			if tb.cells[cell(s, sc, p, cuts)] == "" {
				t.Errorf("the matrix has no cell %s", cell(s, sc, p, cuts))
			}
		}
	})
	t.Logf("%d cells", len(tb.cells))
}

func (tb *table) each(f func(setup, scenario, position)) {
	for _, s := range setups {
		for _, sc := range scenarios {
			for _, p := range s.positions {
				f(s, sc, p)
			}
		}
	}
}

func (tb *table) markdown() string {
	var text strings.Builder
	text.WriteString("| setup | operation | lost reply | 0 | 1 | 2 | 3 | 4 |\n|---|---|---|---|---|---|---|---|\n")
	tb.each(func(s setup, sc scenario, p position) {
		fmt.Fprintf(&text, "| %s | %s | %s |", s.name, sc.name, p.name)
		for cuts := 0; cuts <= maxCuts; cuts++ {
			fmt.Fprintf(&text, " %s |", tb.cells[cell(s, sc, p, cuts)])
		}
		text.WriteByte('\n')
	})
	return text.String()
}
