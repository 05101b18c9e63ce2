package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/pending"
)

// Crowded is how many requests run in the mailbox of Suite.Crowd.
const Crowded = 10_000

// CrowdSteps are the operations that Suite.Crowd compares.
var CrowdSteps = []string{"create", "claim", "complete", "idle poll"}

// Crowd compares operations in a mailbox where Crowded requests run with the same operations in
// empty mailboxes. Its sides are named "claim, empty" and "claim, crowded", and so on.
func (s *Suite) Crowd(ctx context.Context) (Runs, error) {
	client, err := s.empty(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	store, err := crowdStore(client)
	if err != nil {
		return nil, err
	}
	if err := fillRunning(ctx, store, "crowded", Crowded); err != nil {
		return nil, err
	}
	n := s.Each / 10
	var sides []Side
	empty := steps(store, func(i int) string { return fmt.Sprint("empty-", i%n) })
	crowded := steps(store, func(int) string { return "crowded" })
	for i, step := range CrowdSteps {
		sides = append(sides,
			Side{step + ", empty", empty[i]}, Side{step + ", crowded", crowded[i]})
	}
	return s.compare(ctx, "crowd", sides, 1, n, client)
}

func crowdStore(client redis.UniversalClient) (*pending.PendingStore[Job], error) {
	b, err := goredis.New(client, nil)
	if err != nil {
		return nil, err
	}
	policy := Policy()
	policy.RunningTimeout = time.Hour // longer than any run
	return pending.New(b, codecOf[Job]("msgpack"), policy)
}

// fillRunning creates and claims n requests of a mailbox.
func fillRunning(
	ctx context.Context, store *pending.PendingStore[Job], mailbox string, n int) error {
	for range n {
		if _, err := store.Create(ctx, mailbox, question); err != nil {
			return err
		}
		if _, err := store.PopPending(ctx, mailbox); err != nil {
			return err
		}
	}
	return nil
}

// steps returns the operations of CrowdSteps for one caller. Each claims or completes what the one
// before it created or claimed. The mailbox depends on how often the operation ran.
func steps(store *pending.PendingStore[Job], mailbox func(i int) string) [4]Do {
	var created, claimed, polled int
	var claims []*pending.Claim[Job]
	create := func(ctx context.Context, _ string) error {
		_, err := store.Create(ctx, mailbox(created), question)
		created++
		return err
	}
	claim := func(ctx context.Context, _ string) error {
		c, err := store.PopPending(ctx, mailbox(claimed))
		claimed, claims = claimed+1, append(claims, c)
		return err
	}
	complete := func(ctx context.Context, _ string) error {
		c := claims[0]
		claims = claims[1:]
		c.Payload.Output = answer
		return store.Complete(ctx, c)
	}
	poll := func(ctx context.Context, _ string) error {
		_, err := store.PopPending(ctx, mailbox(polled))
		polled++
		switch {
		case err == nil:
			return errors.New("an idle poll found a request")
		case errors.Is(err, pending.ErrNoPending):
			return nil
		}
		return err
	}
	return [4]Do{create, claim, complete, poll}
}
