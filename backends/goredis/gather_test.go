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

// gate is a hook that holds back single scripts and pipelines until it opens. It cannot hold back
// gathered commands.
type gate struct {
	passing
	only    string        // "command" or "pipeline"; "" for both
	waiting chan struct{} // one element for each script that waits
	open    chan struct{}
}

func newGate() *gate { return &gate{waiting: make(chan struct{}, 100), open: make(chan struct{})} }

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

// pass waits if the last command is a script. The client's greeting of a server passes at once.
func (g *gate) pass(what string, last redis.Cmder) {
	if strings.HasPrefix(last.Name(), "eval") && (g.only == "" || g.only == what) {
		g.waiting <- struct{}{}
		<-g.open
	}
}

// While the gate is closed, the server gets only the gathered commands.
func TestCommandsAreGatheredByLoad(t *testing.T) {
	server := redistest.Start(t)
	const callers = 12
	for name, tc := range map[string]struct {
		mode goredis.AutoPipeline
		want int // gathered commands
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
				t.Errorf("%d of %d commands were gathered, want %d", n, callers, tc.want)
			}
			close(g.open)
			calls.Wait()
			if n := observer.evals() - before; n != callers {
				t.Errorf("the server got %d commands, want %d", n, callers)
			}
		})
	}
}

// evals returns the number of scripts that the server has run by their hash.
func (r *rig) evals() int {
	r.Helper()
	info := r.client.Info(r.Context(), "commandstats").Val()
	_, after, _ := strings.Cut(info, "cmdstat_evalsha:calls=")
	var n int
	_, _ = fmt.Sscanf(after, "%d", &n)
	return n
}

func unwrapped(c *redis.ClusterClient) redis.UniversalClient { return c }

func TestNothingIsGatheredOnACluster(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	always := goredis.AutoPipelineAlways
	for name, tc := range map[string]struct {
		wrap func(*redis.ClusterClient) redis.UniversalClient
		mode goredis.AutoPipeline
	}{
		"by load": {unwrapped, goredis.AutoPipelineByLoad}, "always": {unwrapped, always},
		"embedded": {func(c *redis.ClusterClient) redis.UniversalClient {
			return clusterPointers{c}
		}, always},
		"wrapped": {func(c *redis.ClusterClient) redis.UniversalClient {
			return wrapper{c}
		}, always},
	} {
		t.Run(name, func(t *testing.T) {
			client := c.Client(t)
			r := newPipeliningRig(t, tc.wrap(client), tc.mode)
			r.lifecycle(lasting("s"), box)
			g := newGate()
			client.AddHook(g)
			evals := func() (n int) {
				for _, master := range c.Masters {
					n += (&rig{T: t, client: master.Client(t)}).evals()
				}
				return n
			}
			before := evals()
			var calls sync.WaitGroup
			for i := range 12 {
				mailbox := fmt.Sprint("runtime-", i)
				calls.Go(func() { _, _ = r.b.HasPending(t.Context(), "s", mailbox) })
				<-g.waiting
			}
			if n := evals() - before; n != 0 {
				t.Errorf("%d commands were sent past the hook", n)
			}
			close(g.open)
			calls.Wait()
		})
	}
}

// The server sends no replies. A gathered call ends with its context, and other calls get their
// replies later.
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
			t.Errorf("a call with a live context: %v", err)
		}
	}
}

// arrivals is a hook that counts commands.
type arrivals struct {
	passing
	commands chan struct{}
}

func (a arrivals) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		a.commands <- struct{}{}
		return next(ctx, cmd)
	}
}

// The server is away, so gathered commands wait in the client. Their callers give up. When the
// server is back, the client does not send these commands.
func TestAGatheredCommandIsNotSentAfterItsCallerGaveUp(t *testing.T) {
	const callers = 20
	server := redistest.Start(t)
	client := server.ClientWith(t, redis.Options{MaxRetries: 1000, ContextTimeoutEnabled: true})
	r := newPipeliningRig(t, client, goredis.AutoPipelineAlways)
	r.lifecycle(lasting("s"), box)
	server.Kill()
	arrived := arrivals{commands: make(chan struct{}, callers)}
	client.AddHook(arrived)
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for i := range callers {
		calls.Go(func() {
			_, err := r.b.Create(ctx, question(lasting("s"), fmt.Sprint("runtime-", i)))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the error of the context", err)
			}
		})
	}
	for range callers {
		<-arrived.commands
	}
	cancel()
	calls.Wait()
	server.Restart()
	r.has(lasting("s"), box) // follows the others
	if n := r.evals() - 1; n != 0 {
		t.Errorf("the server got %d commands whose callers had given up", n)
	}
}

// While a pipeline with a large payload is in flight, other calls continue.
func TestALargePayloadDelaysNoOtherCalls(t *testing.T) {
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

// breaker is a hook that refuses all commands, as an open circuit breaker does.
type breaker struct{ passing }

func (breaker) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return errRefused }
}

func (breaker) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return errRefused }
}

func TestEveryCallReturnsTheErrorOfARefusingHook(t *testing.T) {
	parallel(t)
	server := redistest.Start(t)
	for name, mode := range pipelining {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", large ", large), func(t *testing.T) {
				client := server.Client(t)
				client.AddHook(breaker{})
				r := newPipeliningRig(t, client, mode)
				r.large = large
				r.checkRefused(1)
				r.checkRefused(10) // by load, some of these are gathered
			})
		}
	}
}

// checkRefused makes every call several times at once. All have to fail with the hook's error.
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
