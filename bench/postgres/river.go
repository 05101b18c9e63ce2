package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// question and answer of a job, of the same sizes as elsewhere.
type job struct {
	Asked []byte `json:"asked"`
}

func (job) Kind() string { return "job" }

type worker struct {
	river.WorkerDefaults[job]
	worked *atomic.Int64
}

func (w *worker) Work(ctx context.Context, _ *river.Job[job]) error {
	defer w.worked.Add(1)
	return river.RecordOutput(ctx, answered)
}

// queue is River: callers insert, and as many workers of one client work and complete. It fetches
// as often as it can.
type queue struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
	worked *atomic.Int64
}

func newQueue(ctx context.Context, pool *pgxpool.Pool, callers int) (side, error) {
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: silent})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	q := &queue{pool: pool, worked: &atomic.Int64{}}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{worked: q.worked})
	q.client, err = river.NewClient(driver, &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: callers}},
		Workers:       workers,
		Logger:        silent,
		FetchCooldown: time.Millisecond, FetchPollInterval: 10 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	return q, q.client.Start(ctx)
}

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

func (q *queue) close(ctx context.Context) error { return q.client.Stop(ctx) }

func (q *queue) run(ctx context.Context, callers, n int) error {
	enough := q.worked.Load() + int64(n)
	err := together(callers, n, func(string) error {
		_, err := q.client.Insert(ctx, job{asked}, nil)
		return err
	})
	for err == nil && q.worked.Load() < enough {
		err = pause(ctx)
	}
	for left := -1; err == nil && left != 0; {
		if err = pause(ctx); err == nil {
			err = q.pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE finalized_at IS NULL").
				Scan(&left)
		}
	}
	if err != nil {
		return fmt.Errorf("river: %w", err)
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(10 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
