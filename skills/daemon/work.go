package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// The functions here call a handler and make a report of what it returns.

var completed = skillshttp.Report{Status: string(pending.StatusCompleted)}

func failure(err error) skillshttp.Report {
	if errors.Is(err, context.Canceled) {
		err = errors.New("the runtime is shutting down")
	}
	return skillshttp.Report{Status: string(pending.StatusFailed), Error: err.Error()}
}

var unsupported = new(bool) // false

func (d *Daemon) list(ctx context.Context) any {
	if d.config.Handlers.List == nil {
		return skillshttp.ListReport{Report: completed, Supported: unsupported}
	}
	l, err := d.config.Handlers.List(ctx)
	if err != nil {
		return failure(err)
	}
	return skillshttp.ListReport{Report: completed, Skills: l.Skills, Supported: &l.Supported, MCPServers: l.MCPServers,
		MCPSupported: l.MCPSupported}
}

func (d *Daemon) bundle(ctx context.Context, key string) any {
	if d.config.Handlers.Import == nil {
		return failure(errors.New("this runtime cannot import skills"))
	}
	b, err := d.config.Handlers.Import(ctx, key)
	if err != nil {
		return failure(err)
	}
	return skillshttp.ImportReport{Report: completed, Skill: &b}
}

func (d *Daemon) ping(ctx context.Context) any {
	began := time.Now()
	var output string
	if d.config.Handlers.Ping != nil {
		var err error
		if output, err = d.config.Handlers.Ping(ctx); err != nil {
			return failure(err)
		}
	}
	return skillshttp.PingReport{Report: completed, Ping: skills.Ping{Output: output, DurationMS: time.Since(began).Milliseconds()}}
}

func (d *Daemon) models(ctx context.Context) any {
	if d.config.Handlers.Models == nil {
		return skillshttp.ModelListReport{Report: completed, Supported: unsupported}
	}
	l, err := d.config.Handlers.Models(ctx)
	if err != nil {
		return failure(err)
	}
	return skillshttp.ModelListReport{Report: completed, Models: l.Models, Supported: &l.Supported}
}

// stillRunning is how often the server is told that an update still runs: a third of the time that it may be silent.
var stillRunning = skills.UpdatePolicy().RunningTimeout / 3

func (d *Daemon) update(ctx context.Context, id, version string) any {
	if d.config.Handlers.Update == nil {
		return failure(errors.New("this runtime cannot update itself"))
	}
	stop := d.tellThatItRuns(ctx, id)
	defer stop()
	output, err := d.config.Handlers.Update(ctx, version)
	report := skillshttp.UpdateReport{Report: completed, Output: output}
	if err != nil {
		report.Report = failure(err)
	}
	return report
}

// tellThatItRuns reports now and then that an update still runs, until stop is called.
func (d *Daemon) tellThatItRuns(ctx context.Context, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sleep(ctx, stillRunning) == nil {
			report := skillshttp.UpdateReport{Report: skillshttp.Report{Status: string(pending.StatusRunning)}}
			if err := d.report(ctx, "/update", id, report); err != nil && ctx.Err() == nil {
				d.config.Logger.Warn("report that an update runs", "runtime", d.config.RuntimeID, "request", id, "error", err)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
