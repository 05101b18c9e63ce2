package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/wire"
)

// The functions below call a handler and return its result as a report.

var completed = wire.Report{Status: string(pending.StatusCompleted)}

// result is a report whose attempt is not set yet.
type result interface{ SetAttempt(int) }

func failure(err error) *wire.Report {
	if errors.Is(err, context.Canceled) {
		err = errors.New("the runtime is shutting down")
	}
	return &wire.Report{Status: string(pending.StatusFailed), Error: err.Error()}
}

var unsupported = new(bool) // false

// logOmissions logs the omissions of an answer.
func (d *Daemon) logOmissions(o skills.Omissions) {
	for _, left := range o.LeftOut {
		d.config.Logger.Warn("left out", "runtime", d.config.RuntimeID, "skill", left.Key,
			"path", left.Path, "reason", left.Reason)
	}
	if more := o.LeftOutCount - len(o.LeftOut); more > 0 {
		d.config.Logger.Warn("left out more", "runtime", d.config.RuntimeID, "count", more)
	}
}

func (d *Daemon) list(ctx context.Context) result {
	if d.config.Handlers.List == nil {
		return &wire.ListReport{Report: completed, Supported: unsupported}
	}
	l, err := d.config.Handlers.List(ctx)
	if err != nil {
		return failure(err)
	}
	d.logOmissions(l.Omissions)
	return &wire.ListReport{Report: completed, List: l, Supported: &l.Supported}
}

func (d *Daemon) bundle(ctx context.Context, key string) result {
	if d.config.Handlers.Import == nil {
		return failure(errors.New("this runtime cannot import skills"))
	}
	b, err := d.config.Handlers.Import(ctx, key)
	if err != nil {
		return failure(err)
	}
	d.logOmissions(b.Omissions)
	return &wire.ImportReport{Report: completed, Skill: &b}
}

func (d *Daemon) ping(ctx context.Context) result {
	began := time.Now()
	var output string
	if d.config.Handlers.Ping != nil {
		var err error
		if output, err = d.config.Handlers.Ping(ctx); err != nil {
			return failure(err)
		}
	}
	took := time.Since(began).Milliseconds()
	return &wire.PingReport{Report: completed, Ping: skills.Ping{Output: output, DurationMS: took}}
}

func (d *Daemon) models(ctx context.Context) result {
	if d.config.Handlers.Models == nil {
		return &wire.ModelListReport{Report: completed, Supported: unsupported}
	}
	l, err := d.config.Handlers.Models(ctx)
	if err != nil {
		return failure(err)
	}
	return &wire.ModelListReport{
		Report: completed, ModelList: l, Supported: &l.Supported, Fallback: l.Fallback}
}

// stillRunning is how often the server is told that an update still runs: a third of the time that
// the daemon may be silent.
var stillRunning = skills.UpdatePolicy().RunningTimeout / 3

func (d *Daemon) update(ctx context.Context, u wire.UpdateAssignment) result {
	if d.config.Handlers.Update == nil {
		return failure(errors.New("this runtime cannot update itself"))
	}
	stop := d.tellThatItRuns(ctx, u.Assignment)
	defer stop()
	output, err := d.config.Handlers.Update(ctx, u.TargetVersion)
	report := &wire.UpdateReport{Report: completed, Output: output}
	if err != nil {
		report.Report = *failure(err)
	}
	return report
}

// tellThatItRuns reports every so often that an update still runs, until stop is called.
func (d *Daemon) tellThatItRuns(ctx context.Context, a wire.Assignment) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for poll.Sleep(ctx, stillRunning) == nil {
			report := wire.UpdateReport{Report: wire.Report{
				Status: string(pending.StatusRunning), Attempt: a.Attempt}}
			if err := d.report(ctx, "/update", a.ID, report); err != nil && ctx.Err() == nil {
				d.config.Logger.Warn("report that an update runs",
					"runtime", d.config.RuntimeID, "request", a.ID, "error", err)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
