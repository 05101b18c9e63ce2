package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
)

// demoBackup and demoReboot are the payloads of the demo's stores.
type (
	demoBackup struct{ Files, Done int }
	demoReboot struct{ Reason string }
)

// demo makes requests in memory and works on them.
type demo struct {
	backend backends.Backend
	metrics http.Handler
	backups *pending.PendingStore[demoBackup]
	reboots *pending.PendingStore[demoReboot]
	devices []string
	pace    time.Duration // the length of a short pause; all pauses are multiples of it
}

var (
	demoBackups = pending.Policy{Name: "backup", PendingTimeout: 10 * time.Minute,
		RunningTimeout: time.Minute, Retention: time.Hour, CancelGrace: 10 * time.Second,
		MaxAttempts: 3}
	demoReboots = pending.Policy{Name: "reboot", PendingTimeout: time.Minute,
		RunningTimeout: 5 * time.Minute, Retention: time.Hour, Exclusive: true}
)

func newDemo(pace time.Duration) (*demo, error) {
	b, metrics, err := instrument(memory.New())
	if err != nil {
		return nil, err
	}
	d := &demo{backend: b, metrics: metrics, pace: pace}
	var rebootsErr error
	d.backups, err = pending.New(d.backend, codec.JSON[demoBackup](), demoBackups)
	d.reboots, rebootsErr = pending.New(d.backend, codec.JSON[demoReboot](), demoReboots)
	for i := range 8 {
		d.devices = append(d.devices, fmt.Sprintf("device-%d", i+1))
	}
	return d, errors.Join(err, rebootsErr)
}

// serveDemo serves a dashboard without access control over the demo, and its metrics, until ctx
// ends.
func serveDemo(ctx context.Context, o options, logger *slog.Logger, ready func(addresses)) error {
	d, err := newDemo(time.Second)
	if err != nil {
		return err
	}
	everything := func(*http.Request, dashboard.Action, string, string) (string, bool) {
		return "visitor", true
	}
	pages, err := dashboard.New(d.backend, dashboard.Config{Access: everything, Logger: logger,
		Stores: []dashboard.Store{
			{Policy: demoBackups, Payload: dashboard.Show(d.backups, nil)},
			{Policy: demoReboots, Payload: dashboard.Show(d.reboots, nil)}}})
	if err != nil {
		return err
	}
	server := &http.Server{Addr: o.listen, Handler: pages, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
	server.RegisterOnShutdown(pages.Drain)
	h := &health{check: func(context.Context) error { return nil }, logger: logger}
	working, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() { d.run(working, logger) })
	n := &listeners{api: server, metrics: newMetricsServer(o.metrics, d.metrics, h), health: h,
		drain: o.drain, logger: logger}
	return n.serve(ctx, func(at addresses) {
		logger.Info("demo: open the dashboard at http://" + at.api + "/")
		ready(at)
	})
}

// run makes requests to random devices until ctx ends. The last device is offline.
func (d *demo) run(ctx context.Context, logger *slog.Logger) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for _, device := range d.devices[:len(d.devices)-1] {
		w, err := pending.NewWorker(device, &pending.WorkerOptions{Logger: logger, Grace: -1},
			pending.Handle(d.backups, d.backUp), pending.Handle(d.reboots, d.reboot))
		if err != nil {
			logger.Error("demo", "error", err)
			return
		}
		workers.Go(func() { _ = w.Run(ctx) })
	}
	for ctx.Err() == nil {
		d.ask(ctx, d.devices[rand.IntN(len(d.devices))])
		pass(ctx, 2*d.pace)
	}
}

// ask makes a request to a device. The store refuses a second reboot of a device.
func (d *demo) ask(ctx context.Context, device string) {
	if rand.IntN(3) == 0 {
		_, _ = d.reboots.Create(ctx, device, demoReboot{Reason: "update"})
		return
	}
	_, _ = d.backups.Create(ctx, device, demoBackup{Files: 5 + rand.IntN(25)})
}

// backUp sometimes fails. The next attempt then continues after the last file.
func (d *demo) backUp(ctx context.Context, c *pending.Claim[demoBackup]) error {
	for ; c.Payload.Done < c.Payload.Files; c.Payload.Done++ {
		if rand.IntN(50) == 0 {
			return pending.Retry(5*d.pace, errors.New("the disk is busy"))
		}
		pass(ctx, d.pace)
		if err := d.backups.Progress(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) reboot(ctx context.Context, _ *pending.Claim[demoReboot]) error {
	pass(ctx, time.Duration(3+rand.IntN(10))*d.pace)
	if rand.IntN(8) == 0 {
		return errors.New("the device did not come back")
	}
	return context.Cause(ctx)
}

// pass waits for d, or until ctx ends.
func pass(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
