package pending_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
)

// A network client may wait for a frozen server until its context ends. The Worker waits for the
// handler's call, but only as long as the lease lasts.
func TestAnOperationThatHangsEndsWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healthy := map[string]bool{"claim": true, "extend": true}
		s := newStore(t, &hanging{Backend: memory.New(), hung: healthy}, policy())
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		ended := make(chan error, 1)
		stop := work(t, s, opts, func(ctx context.Context, c *jobClaim) error {
			if s.Complete(ctx, c) == nil {
				t.Error("Complete did not hang")
			}
			ended <- context.Cause(ctx)
			return nil // the Worker tries it once more
		})
		r := create(t, s)
		select {
		case cause := <-ended:
			checkErr(t, "the cause", cause, pending.ErrStaleClaim)
		case <-time.After(time.Hour):
			t.Error("the handler's context has not ended an hour later")
		}
		if got := await(t, s, r.ID); got.Status != pending.StatusCompleted {
			t.Errorf("got %s, %s; want completed", got.Status, got.Error)
		}
		stop()
	})
}
