package remote_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
)

func TestAReleaseOfTheServersLastAttemptIsInvalid(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) {
		p := graceful()
		p.MaxAttempts = 1
		c.Stores = []pending.Policy{p}
	})
	rec := r.running()
	release := backends.Extend{Terms: terms("s"), ID: rec.ID, Attempt: 1, Mailbox: box,
		Release: true}
	release.MaxAttempts = 3
	_, err := r.client.Extend(t.Context(), release)
	if !errors.Is(err, pending.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	if got, err := r.client.Get(t.Context(), "s", rec.ID); err != nil ||
		got.Status != backends.StatusRunning || got.Deadline != rec.Deadline {
		t.Errorf("got %+v, %v; want the lease as before", got, err)
	}
	cancel := backends.Cancel{Terms: terms("s"), ID: rec.ID, Outcome: backends.StatusCancelled}
	if _, err := r.client.Cancel(t.Context(), cancel); err != nil {
		t.Fatal(err)
	}
	lease, err := r.client.Extend(t.Context(), release)
	if err != nil || lease.CancelledAs != backends.StatusCancelled {
		t.Errorf("after a cancel: got %+v, %v", lease, err)
	}
	if _, err := r.client.End(t.Context(), completion("s", rec)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Extend(t.Context(), release); !errors.Is(err, pending.ErrEnded) {
		t.Errorf("after the end: got %v, want ErrEnded", err)
	}
}

// The device's policy allows another attempt, and the server's policy does not.
func TestARetryThatTheServerRefusesFailsTheRequest(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	work(t, newClient(t, r.url, box), func(context.Context, *pending.PendingStore[backup],
		*pending.Claim[backup]) error {
		return pending.Retry(0, errors.New("the disk is busy"))
	})
	asking := newStore(t, r.client, policy("s"))
	made, err := asking.Create(t.Context(), box, backup{Folder: "home"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := asking.Await(ctx, made.ID)
	if err != nil || got.Status != pending.StatusFailed || got.Error != "the disk is busy" {
		t.Errorf("got %+v, %v; want the error of the handler", got, err)
	}
}
