package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/wire"
)

// ErrRuntimeGone is the error of Run when the server says that the runtime was deleted.
var ErrRuntimeGone = errors.New("daemon: the server has deleted this runtime")

// Daemon does a runtime's work. Make one with [New], and Run it once.
type Daemon struct {
	config   Config
	wait     patience
	ids      claimIDs
	failures int       // heartbeats that failed in a row
	next     time.Time // when the next heartbeat is due
}

// New makes a Daemon. It refuses a Config that cannot work.
func New(c Config) (*Daemon, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Daemon{config: c, wait: patience{now: c.Wait, most: c.Wait},
		ids: claimIDs{id: rand.Text()}}, nil
}

// Run asks for work and does it until ctx ends. Then it asks for no more, and gives the heartbeat
// in flight 2 s, since that may have claimed work already. It gives all work Config.Grace, reports
// everything, and returns nil. A report has four tries of up to 90 s each, so a silent server
// delays the return by minutes. Run returns [ErrRuntimeGone] when the runtime has been deleted.
// While the server is away, Run retries less and less often.
func (d *Daemon) Run(ctx context.Context) error {
	loop := poll.Loop{Concurrency: d.config.MaxConcurrent, Grace: d.config.Grace}
	return loop.Run(ctx, d.claim)
}

// beatGrace is how long a heartbeat may go on once ctx has ended.
const beatGrace = 2 * time.Second

// claim sends a heartbeat when one is due, and returns the work that it brings.
func (d *Daemon) claim(ctx context.Context, free int) ([]func(context.Context), error) {
	if poll.Sleep(ctx, time.Until(d.next)) != nil {
		return nil, nil
	}
	const single = 4 // requests besides imports
	batch := free >= skills.MaxImports+single
	beating, cancel := poll.Outliving(ctx, beatGrace)
	defer cancel()
	began := time.Now()
	a, failed, err := d.heartbeat(beating, d.ids.id, batch, d.wait.now)
	took := time.Since(began)
	d.ids.after(failed, err)
	var pause time.Duration
	switch {
	case ctx.Err() != nil && err != nil:
	case gone(err):
		return nil, ErrRuntimeGone
	case err != nil:
		if d.wait.cutOff(took, err) {
			d.failures = 0 // the server is there
		}
		pause = d.afterFailure(err)
		d.config.Logger.Warn("heartbeat",
			"runtime", d.config.RuntimeID, "error", err, "again in", pause)
	default:
		d.failures = 0
		pause = d.untilNext(a, took)
		d.wait.held()
	}
	d.next = time.Now().Add(pause)
	return d.jobs(a), nil
}

// claimIDs makes the claim ids of heartbeats.
type claimIDs struct {
	id         string
	unreadable bool // the last answer could not be read
}

// after changes the id once its answer has been read. After a lost answer, the same id gets the
// answer again. After two answers that cannot be read, the daemon gives up the id.
func (c *claimIDs) after(failed bool, err error) {
	unreadable := errors.Is(err, errUnreadable)
	if err == nil && !failed || unreadable && c.unreadable {
		c.id, unreadable = rand.Text(), false
	}
	c.unreadable = unreadable
}

// patience is how long the daemon asks the server to hold a heartbeat. A proxy between them may cut
// longer waits off.
type patience struct {
	now, most time.Duration
	calm      int // how many waits in a row were not cut off
}

const (
	leastWait = time.Second
	calmWaits = 100 // after so many calm waits the daemon tries a longer wait
)

// cutOff shortens the wait if a heartbeat failed while it was held, and reports whether it did.
func (p *patience) cutOff(took time.Duration, err error) bool {
	var answered *statusError
	refused := errors.As(err, &answered) && answered.status < 500
	if took < leastWait || took > p.now || refused {
		return false
	}
	p.now, p.calm = max(leastWait, took*3/4), 0
	return true
}

// held notes a heartbeat that was answered, and lengthens the wait again after many of them.
func (p *patience) held() {
	if p.calm++; p.calm >= calmWaits {
		p.now, p.calm = min(p.most, 2*p.now), 0
	}
}

// untilNext returns the pause after an answer that took so long. A server that holds heartbeats is
// asked again at once.
func (d *Daemon) untilNext(a wire.Assignments, took time.Duration) time.Duration {
	held := d.wait.now > 0 && (!a.Empty() || took >= d.wait.now/2)
	if held {
		return 0
	}
	tenth := d.config.Interval / 10
	return max(0, d.config.Interval-took-tenth+mathrand.N(2*tenth+1))
}

// The pauses after heartbeats that failed.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
)

// afterFailure returns the pause after a heartbeat that failed. A server may ask for a pause. After
// a definite refusal the pause is the longest, since only people can help. Otherwise each pause is
// longer than the one before.
func (d *Daemon) afterFailure(err error) time.Duration {
	var status *statusError
	if errors.As(err, &status) && status.retryAfter > 0 {
		return min(status.retryAfter, longestPause)
	}
	if definite(err) {
		d.config.Logger.Error("the server refuses this runtime: are its id and token right?",
			"runtime", d.config.RuntimeID, "status", status.status)
		return longestPause
	}
	d.failures++
	return poll.Jitter(poll.Pause(d.failures-1, firstPause, longestPause))
}

// gone reports whether an error is the server's answer for a deleted runtime.
func gone(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status == http.StatusNotFound &&
		status.text == wire.RuntimeGone
}

// jobs returns the work that a heartbeat brought.
func (d *Daemon) jobs(a wire.Assignments) (jobs []func(context.Context)) {
	add := func(kind string, to wire.Assignment, work func(context.Context) result) {
		jobs = append(jobs, func(ctx context.Context) { d.do(ctx, kind, to, work) })
	}
	if a.List != nil {
		add("/local-skills", *a.List, d.list)
	}
	if len(a.Imports) == 0 && a.Import != nil { // from a server that knows no batches
		a.Imports = []wire.ImportAssignment{*a.Import}
	}
	for _, i := range a.Imports {
		add("/local-skills/import", i.Assignment,
			func(ctx context.Context) result { return d.bundle(ctx, i.SkillKey) })
	}
	if a.Ping != nil {
		add("/ping", *a.Ping, d.ping)
	}
	if u := a.Update; u != nil {
		add("/update", u.Assignment,
			func(ctx context.Context) result { return d.update(ctx, *u) })
	}
	if a.ModelList != nil {
		add("/models", *a.ModelList, d.models)
	}
	return jobs
}

// do works on a request, and reports the result even if ctx has ended meanwhile.
func (d *Daemon) do(ctx context.Context, kind string, a wire.Assignment,
	work func(context.Context) result) {
	began := time.Now()
	answer := d.guarded(ctx, kind, a.ID, work)
	answer.SetAttempt(a.Attempt)
	err := d.report(context.WithoutCancel(ctx), kind, a.ID, answer)
	log := d.config.Logger.With("runtime", d.config.RuntimeID, "kind", kind, "request", a.ID,
		"took", time.Since(began))
	if err != nil {
		log.Error("report", "error", err)
		return
	}
	log.Info("reported")
}

// guarded turns a handler's panic into a failure.
func (d *Daemon) guarded(ctx context.Context, kind, id string,
	work func(context.Context) result) (answer result) {
	defer func() {
		if p := recover(); p != nil {
			d.config.Logger.Error("a handler panicked", "runtime", d.config.RuntimeID,
				"kind", kind, "request", id, "panic", fmt.Sprintf("%T", p))
			answer = failure(errors.New("the runtime's handler crashed"))
		}
	}()
	return work(ctx)
}
