package goredis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// gate is a hook that holds back scripts until it opens: by themselves, and in pipelines. A
// gathered command is sent all the same.
type gate struct {
	only    string        // "command" or "pipeline"; "" for both
	waiting chan struct{} // one for each that has arrived
	open    chan struct{}
}

func newGate() *gate { return &gate{waiting: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		g.pass("command", cmd)
		return next(ctx, cmd)
	}
}

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		g.pass("pipeline", cmds[len(cmds)-1])
		return next(ctx, cmds)
	}
}

// pass waits if the last command is a script. A client also greets a server through its hooks.
func (g *gate) pass(what string, last redis.Cmder) {
	if strings.HasPrefix(last.Name(), "eval") && (g.only == "" || g.only == what) {
		g.waiting <- struct{}{}
		<-g.open
	}
}

// While the gate is closed, the server gets those commands alone that are gathered.
func TestCommandsAreGatheredByLoad(t *testing.T) {
	server := redistest.Start(t)
	const callers = 12
	for name, tc := range map[string]struct {
		mode goredis.AutoPipeline
		want int // commands that are gathered
	}{
		"never": {goredis.AutoPipelineNever, 0}, "always": {goredis.AutoPipelineAlways, callers},
		"by load": {goredis.AutoPipelineByLoad, callers - 4},
	} {
		t.Run(name, func(t *testing.T) {
			client := server.Client(t)
			r := newPipeliningRig(t, client, tc.mode)
			r.lifecycle(lasting("s"), box) // the server knows the scripts
			observer := &rig{T: t, client: server.Client(t)}
			g := newGate()
			client.AddHook(g)
			before := observer.evals()
			var calls sync.WaitGroup
			for i := range callers {
				calls.Go(func() {
					c := question(lasting("s"), fmt.Sprint("runtime-", i))
					if _, err := r.b.Create(t.Context(), c); err != nil {
						t.Error(err)
					}
				})
				<-g.waiting // one call after the other
			}
			arrived := func() bool { return observer.evals() >= before+tc.want }
			r.until("the gathered commands have arrived", arrived)
			if n := observer.evals() - before; n != tc.want {
				t.Errorf("%d of %d commands are gathered, want %d", n, callers, tc.want)
			}
			close(g.open)
			calls.Wait()
			if n := observer.evals() - before; n != callers {
				t.Errorf("the server got %d commands, want %d", n, callers)
			}
		})
	}
}

// evals is how many scripts the server has run by their hash.
func (r *rig) evals() int {
	r.Helper()
	info := r.client.Info(r.Context(), "commandstats").Val()
	_, after, _ := strings.Cut(info, "cmdstat_evalsha:calls=")
	var n int
	_, _ = fmt.Sscanf(after, "%d", &n)
	return n
}

func TestNothingIsGatheredOnACluster(t *testing.T) {
	c := redistest.StartCluster(t)
	for name, mode := range pipelining {
		t.Run(name, func(t *testing.T) {
			client := c.Client(t)
			r := newPipeliningRig(t, client, mode)
			r.lifecycle(lasting("s"), box)
			g := newGate()
			client.AddHook(g)
			observers := make([]*rig, len(c.Masters))
			before := 0
			for i, master := range c.Masters {
				observers[i] = &rig{T: t, client: master.Client(t)}
				before += observers[i].evals()
			}
			var calls sync.WaitGroup
			for i := range 12 {
				mailbox := fmt.Sprint("runtime-", i)
				calls.Go(func() { _, _ = r.b.HasPending(t.Context(), "s", mailbox) })
				<-g.waiting
			}
			for _, o := range observers {
				before -= o.evals()
			}
			if before != 0 {
				t.Errorf("%d commands were sent past the hook", -before)
			}
			close(g.open)
			calls.Wait()
		})
	}
}

// A gathered call ends with its context, though the server answers nothing. Others get their
// answers later.
func TestAGatheredCallEndsWithItsContext(t *testing.T) {
	server := redistest.Start(t)
	r := newPipeliningRig(t, server.Client(t), goredis.AutoPipelineAlways)
	r.lifecycle(lasting("s"), box)
	server.Stop()
	ended := map[string]func() (context.Context, context.CancelFunc){
		"canceled": func() (context.Context, context.CancelFunc) {
			return context.WithCancel(t.Context())
		},
		"deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 10*time.Millisecond)
		},
	}
	others := make(chan error, 20)
	for i := range cap(others) {
		go func() {
			_, err := r.b.Create(t.Context(), question(lasting("s"), fmt.Sprint("runtime-", i)))
			others <- err
		}()
	}
	for name, begin := range ended {
		ctx, cancel := begin()
		result := make(chan error)
		go func() {
			_, err := r.b.HasPending(ctx, "s", box)
			result <- err
		}()
		if name == "canceled" {
			cancel()
		}
		if err := <-result; !errors.Is(err, ctx.Err()) || err == nil {
			t.Errorf("%s: got %v, want %v", name, err, ctx.Err())
		}
		cancel()
	}
	server.Continue()
	for range cap(others) {
		if err := <-others; err != nil {
			t.Errorf("another call, whose context goes on: %v", err)
		}
	}
}

// While the pipeline with a large payload is under way, all other calls go on.
func TestALargePayloadHoldsUpNoOthers(t *testing.T) {
	server := redistest.Start(t)
	for name, mode := range pipelining {
		t.Run(name, func(t *testing.T) {
			client := server.Client(t)
			r := newPipeliningRig(t, client, mode)
			g := newGate()
			g.only = "pipeline"
			client.AddHook(g)
			done := make(chan error)
			go func() {
				_, err := r.b.Create(t.Context(), large(lasting("s"), box))
				done <- err
			}()
			<-g.waiting
			var callers sync.WaitGroup
			for i := range 10 {
				callers.Go(func() { r.live(fmt.Sprint("runtime-", i), 5) })
			}
			callers.Wait()
			close(g.open)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

var errRefused = errors.New("the circuit is open")

// breaker is a hook that refuses commands, pipelines or both, as a circuit breaker does.
type breaker struct{ commands, pipelines bool }

func (h breaker) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.commands {
			return errRefused
		}
		return next(ctx, cmd)
	}
}

func (h breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if h.pipelines {
			return errRefused
		}
		return next(ctx, cmds)
	}
}

func TestAHookThatRefusesIsNamedByEveryCall(t *testing.T) {
	server := redistest.Start(t)
	for name, mode := range pipelining {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", large ", large), func(t *testing.T) {
				client := server.Client(t)
				client.AddHook(breaker{commands: true, pipelines: true})
				r := newPipeliningRig(t, client, mode)
				r.large = large
				r.checkRefused(1)
				r.checkRefused(10) // with by load, some are gathered
			})
		}
	}
}

// checkRefused makes every call several times at once, and checks that all fail with the hook's
// error.
func (r *rig) checkRefused(callers int) {
	r.Helper()
	c := question(lasting("s"), box)
	if r.large {
		c = large(lasting("s"), box)
	}
	calls := append(r.steps(c), step{"ClaimMany", func(ctx context.Context) error {
		return r.b.ClaimMany(ctx, []backends.Claim{heartbeat(box, 1, c.Terms)})[0].Err
	}})
	for _, step := range calls {
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				if err := step.call(r.Context()); !errors.Is(err, errRefused) {
					r.Errorf("%s: got %v, want the hook's error", step.name, err)
				}
			})
		}
		all.Wait()
	}
}
