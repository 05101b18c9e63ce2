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

// job has the question of the other sides. River stores question and answer in JSON, where a string
// keeps its size.
type job struct {
	Asked string `json:"asked"`
}

func (job) Kind() string { return "job" }

// worker works jobs until none of a round is left.
type worker struct {
	river.WorkerDefaults[job]
	left   atomic.Int64
	worked chan struct{} // closed when the last one was worked
}

func (w *worker) Work(ctx context.Context, _ *river.Job[job]) error {
	err := river.RecordOutput(ctx, string(answered))
	if w.left.Add(-1) == 0 {
		close(w.worked)
	}
	return err
}

// queue is River: callers insert, and as many workers of one client work and complete. It fetches
// as often as it can. It runs once.
type queue struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
	worker *worker
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
	q := &queue{pool: pool, worker: &worker{worked: make(chan struct{})}}
	workers := river.NewWorkers()
	river.AddWorker(workers, q.worker)
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

// run ends with Stop, which completes the last batch at once. A running client would wait up to
// 250 ms for a larger batch.
func (q *queue) run(ctx context.Context, callers, n int) error {
	q.worker.left.Store(int64(n))
	err := together(callers, n, func(string) error {
		_, err := q.client.Insert(ctx, job{string(asked)}, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("river: %w", err)
	}
	select {
	case <-q.worker.worked:
		return q.client.Stop(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close also checks that all jobs are completed.
func (q *queue) close(ctx context.Context) error {
	if err := q.client.Stop(ctx); err != nil {
		return err
	}
	var left int
	err := q.pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state <> 'completed'").
		Scan(&left)
	if err == nil && left > 0 {
		err = fmt.Errorf("river: %d jobs are not completed", left)
	}
	return err
}
