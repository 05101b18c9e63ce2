package matrix_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/proof/cutproxy"
)

// lab has a client behind a proxy that loses replies, and a client that connects directly.
type lab struct {
	*testing.T
	setup
	proxy     *cutproxy.Proxy
	direct    redis.UniversalClient
	cutOff    redis.UniversalClient
	pipeliner *redis.AutoPipeliner // nil without pipelining

	answer, stored string          // of the scenario without losses
	sent           map[string]bool // the commands of the scenario without losses
}

func newLab(t *testing.T, s setup, connect dialler) *lab {
	l := &lab{T: t, setup: s, proxy: cutproxy.New()}
	t.Cleanup(l.proxy.Close)
	// The direct client has no old map: go-redis closes connections to nodes that its map lacks.
	l.direct = connect(t, setup{}, redis.UniversalOptions{})
	l.cutOff = connect(t, s, redis.UniversalOptions{Dialer: l.proxy.Dial,
		MinRetryBackoff: time.Microsecond,
		MaxRetryBackoff: time.Microsecond})
	if l.pipeline != goredis.AutoPipelineNever {
		l.pipeliner = l.newPipeliner()
	}
	return l
}

// newPipeliner makes the client's autopipeliner. The backend uses it too.
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

// expect sets answer, stored and sent: it runs a scenario without losses.
func (l *lab) expect(sc calls.Scenario) {
	l.Helper()
	prefix := backends.NewID("") + ":"
	b := l.backend(l.direct, prefix)
	c := &calls.Call{Op: sc.Arrange(&calls.Stage{T: l.T, B: b})}
	if c.Perform(l.Context(), b); !c.Answered() {
		l.Fatalf("%s, without losses: %v", sc.Name, c.Err)
	}
	l.answer, l.stored = c.Shape(), storageShape(l.T, l.direct, b, prefix)
	l.sent = l.commandsOf(sc)
}

// commandsOf returns the commands that the operation of a scenario sends.
func (l *lab) commandsOf(sc calls.Scenario) map[string]bool {
	l.Helper()
	prefix := backends.NewID("") + ":"
	c := &calls.Call{Op: sc.Arrange(&calls.Stage{T: l.T, B: l.backend(l.direct, prefix)})}
	sent := map[string]bool{}
	l.proxy.Cut(1, func(command [][]byte, _ []byte) bool {
		sent[cutproxy.Name(command)] = true
		return false
	})
	c.Perform(l.Context(), l.backend(l.cutOff, prefix))
	l.proxy.Cut(0, nil)
	return sent
}

// try runs one cell and returns its outcome for the table.
func (l *lab) try(sc calls.Scenario, p position, cuts int) string {
	l.Helper()
	prefix := backends.NewID("") + ":"
	b := l.backend(l.direct, prefix)
	c := &calls.Call{Op: sc.Arrange(&calls.Stage{T: l.T, B: b})}
	untouched := storageShape(l.T, l.direct, b, prefix)
	if p.unknown {
		l.direct.ScriptFlush(l.Context())
	}
	l.perform(c, l.backend(l.cutOff, prefix), p, cuts)
	cell := fmt.Sprintf("%s, %s, %d cuts", sc.Name, p.name, cuts)
	outcome := "same answer"
	if !c.Answered() {
		outcome = "error, repeated"
		if got := storageShape(l.T, l.direct, b, prefix); got != untouched && got != l.stored {
			l.Errorf("%s: half an effect:\n%.2000s\nwant\n%.2000s\nor\n%.2000s",
				cell, got, untouched, l.stored)
		}
		c.Perform(l.Context(), l.backend(l.cutOff, prefix))
	}
	if got := c.Shape(); got != l.answer {
		l.Errorf("%s: got\n%.2000s\nwant\n%.2000s\nerror %v", cell, got, l.answer, c.Err)
	}
	if got := storageShape(l.T, l.direct, b, prefix); got != l.stored {
		l.Errorf("%s: stored\n%.2000s\nwant\n%.2000s", cell, got, l.stored)
	}
	return outcome
}

// perform makes the call while the proxy loses replies, and checks how many replies were lost. In a
// pipeline, the call is the second of three.
func (l *lab) perform(c *calls.Call, b *goredis.Backend, p position, cuts int) {
	l.Helper()
	already := l.proxy.Cuts()
	_, single := l.cutOff.(*redis.Client)
	_, reads := c.Op.(calls.Get)
	if reads && single && !p.neighbour && p.command == "" { // Get runs no script here
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

// neighbour returns a call of another script than c's.
func neighbour(c *calls.Call, store string) *calls.Call {
	if _, looks := c.Op.(calls.Look); looks {
		return &calls.Call{Op: calls.Lasting(store).Extending(backends.NewID(calls.Box))}
	}
	return &calls.Call{Op: calls.Lasting(store).Look()}
}

func (l *lab) until(condition func() bool) {
	l.Helper()
	if !calls.Await(time.Minute, 50*time.Microsecond, condition) {
		l.Fatal("a command was not sent within a minute")
	}
}
