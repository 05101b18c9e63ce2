package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// ErrRuntimeGone is what Run returns when the server says that the runtime has been deleted.
var ErrRuntimeGone = errors.New("daemon: the server has deleted this runtime")

// Daemon does a runtime's work. Make one with [New], and Run it once.
type Daemon struct {
	config Config
	slots  chan struct{} // one for each request that is worked on
	work   sync.WaitGroup
}

// New makes a Daemon. It refuses a Config that cannot work.
func New(c Config) (*Daemon, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Daemon{config: c, slots: make(chan struct{}, c.MaxConcurrent)}, nil
}

// Run asks for work and does it until ctx ends. Then it asks for no more, gives what is running Config.Grace, reports
// everything, and returns nil. It returns [ErrRuntimeGone] when the runtime has been deleted. While the server is away
// it keeps trying, less and less often.
func (d *Daemon) Run(ctx context.Context) error {
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	err := d.poll(ctx, working)
	timer := time.AfterFunc(d.config.Grace, stopWork)
	defer timer.Stop()
	d.work.Wait()
	return err
}

// poll sends heartbeats, and starts what they bring.
func (d *Daemon) poll(ctx, working context.Context) error {
	pauses := newBackOff()
	claimID := rand.Text()
	for {
		batch, err := d.awaitSlot(ctx)
		if err != nil {
			return nil
		}
		began := time.Now()
		a, err := d.heartbeat(ctx, claimID, batch)
		switch {
		case ctx.Err() != nil && err != nil:
			return nil
		case gone(err):
			return ErrRuntimeGone
		case err != nil: // the same claim id again: its answer may have been lost
			pause := d.afterFailure(err, pauses)
			d.config.Logger.Warn("heartbeat", "runtime", d.config.RuntimeID, "error", err, "again in", pause)
			if sleep(ctx, pause) != nil {
				return nil
			}
			continue
		}
		pauses.Reset()
		claimID = rand.Text()
		d.start(working, a)
		if sleep(ctx, d.untilNext(a, time.Since(began))) != nil {
			return nil
		}
	}
}

// awaitSlot waits until there is room for work, and reports whether there is room for as much as a heartbeat can bring.
func (d *Daemon) awaitSlot(ctx context.Context) (batch bool, err error) {
	select {
	case d.slots <- struct{}{}:
		<-d.slots
	case <-ctx.Done():
		return false, ctx.Err()
	}
	const single = 4 // besides imports
	return cap(d.slots)-len(d.slots) >= skills.MaxImports+single, ctx.Err()
}

// untilNext is the pause after an answer that took so long. A server that holds heartbeats is asked again at once.
func (d *Daemon) untilNext(a skillshttp.Assignments, took time.Duration) time.Duration {
	held := d.config.Wait > 0 && (!a.Empty() || took >= d.config.Wait/2)
	if held {
		return 0
	}
	tenth := d.config.Interval / 10
	return max(0, d.config.Interval-took-tenth+mathrand.N(2*tenth+1))
}

// longestPause is the most that lies between attempts to reach a server that is away.
const longestPause = time.Minute

func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 500*time.Millisecond, longestPause
	return b
}

// afterFailure is the pause after a heartbeat that failed: what the server asks for, the longest where only people can
// help, else a longer one each time.
func (d *Daemon) afterFailure(err error, pauses *backoff.ExponentialBackOff) time.Duration {
	var status *statusError
	if errors.As(err, &status) && status.retryAfter > 0 {
		return min(status.retryAfter, longestPause)
	}
	if definite(err) {
		d.config.Logger.Error("the server refuses this runtime: are its id and token right?", "runtime", d.config.RuntimeID, "status", status.status)
		return longestPause
	}
	return pauses.NextBackOff()
}

// gone tells the answer that a deleted runtime gets.
func gone(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status == http.StatusNotFound && status.text == skillshttp.ErrRuntimeGone.Error()
}

// start begins to work on what a heartbeat brought.
func (d *Daemon) start(ctx context.Context, a skillshttp.Assignments) {
	if a.List != nil {
		d.do(ctx, "/local-skills", a.List.ID, d.list)
	}
	if len(a.Imports) == 0 && a.Import != nil { // from a server that knows no batches
		a.Imports = []skillshttp.ImportAssignment{*a.Import}
	}
	for _, i := range a.Imports {
		d.do(ctx, "/local-skills/import", i.ID, func(ctx context.Context) any { return d.bundle(ctx, i.SkillKey) })
	}
	if a.Ping != nil {
		d.do(ctx, "/ping", a.Ping.ID, d.ping)
	}
	if u := a.Update; u != nil {
		d.do(ctx, "/update", u.ID, func(ctx context.Context) any { return d.update(ctx, u.ID, u.TargetVersion) })
	}
	if a.ModelList != nil {
		d.do(ctx, "/models", a.ModelList.ID, d.models)
	}
}

// do works on a request as soon as there is a slot, and reports the result even if ctx has ended meanwhile.
func (d *Daemon) do(ctx context.Context, kind, id string, work func(context.Context) any) {
	d.work.Go(func() {
		d.slots <- struct{}{}
		defer func() { <-d.slots }()
		began := time.Now()
		result := d.guarded(ctx, kind, id, work)
		err := d.report(context.WithoutCancel(ctx), kind, id, result)
		log := d.config.Logger.With("runtime", d.config.RuntimeID, "kind", kind, "request", id, "took", time.Since(began))
		if err != nil {
			log.Error("report", "error", err)
			return
		}
		log.Info("reported")
	})
}

// guarded turns a handler's panic into a failure.
func (d *Daemon) guarded(ctx context.Context, kind, id string, work func(context.Context) any) (result any) {
	defer func() {
		if p := recover(); p != nil {
			d.config.Logger.Error("a handler panicked", "runtime", d.config.RuntimeID, "kind", kind, "request", id, "panic", fmt.Sprintf("%T", p))
			result = failure(errors.New("the runtime's handler crashed"))
		}
	}()
	return work(ctx)
}
