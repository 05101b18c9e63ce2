package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pendingq/pendingq/backends"
)

var _ backends.ManyClaimer = (*Backend)(nil)

// Claim implements [backends.Backend]. The repeat of a claim takes a second round trip.
func (b *Backend) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	answers, err := ask(ctx, b.pool, scanNew(c), b.call.claim, b.args(claimArgs(c)))
	if err == nil && repeats(answers) { // mutation: repeat
		answers, err = b.ask(ctx, b.pool, b.call.claimed, claimArgs(c)[:4]...)
	}
	return claimed(c, answers, err)
}

// repeats reports whether a claim was made before.
func repeats(answers []answer) bool { return len(answers) == 1 && answers[0].rec.ID == "" }

// scanNew returns a function that reads a request which the claim takes now.
func scanNew(c backends.Claim) func(row *values) answer {
	return func(row *values) (a answer) {
		rec := &a.rec
		a.store, a.now = row.place(len(c.From)), row.time()
		rec.ID, rec.Attempt, rec.Codec = row.text(), row.int(), row.text()
		rec.Payload, a.headers = row.bytes(), row.bytes()
		rec.CreatedAt, rec.LastDeadline = row.time(), row.time()
		rec.Mailbox, rec.Status = c.Mailbox, backends.StatusRunning
		rec.UpdatedAt, rec.StartedAt = a.now, a.now
		rec.Deadline = a.now.Add(c.From[a.store].RunningTimeout)
		return a
	}
}

func claimArgs(c backends.Claim) []any {
	n := len(c.From)
	// A FlatArray is encoded without reflection.
	stores := make(pgtype.FlatArray[string], n)
	limits, attempts := make(pgtype.FlatArray[int32], n), make(pgtype.FlatArray[int32], n)
	waits := make(pgtype.FlatArray[time.Duration], n)
	runs, keeps := slices.Clone(waits), slices.Clone(waits)
	for i, f := range c.From {
		stores[i], limits[i], attempts[i] = f.Store, int32(f.Limit), int32(f.MaxAttempts)
		waits[i], runs[i], keeps[i] = f.PendingTimeout, f.RunningTimeout, f.Retention
	}
	return []any{part(backends.Partition(c.Mailbox)), c.ID, []byte(c.Mailbox), stores, limits,
		attempts, waits, runs, keeps}
}

// claimed sorts the answers to a claim by store.
func claimed(c backends.Claim, answers []answer, err error) ([]backends.Claimed, error) {
	if err != nil {
		return nil, err
	}
	results := make([]backends.Claimed, len(c.From))
	for _, a := range answers {
		if a.store >= len(results) {
			return nil, errStrange
		}
		from := &results[a.store]
		if rec, err := a.record(); err != nil {
			from.Errs = append(from.Errs, err)
		} else {
			from.Records = append(from.Records, rec)
		}
	}
	return results, nil
}

// together is how many claims share a transaction. Each locks its partition until the commit.
const together = 64

// ClaimMany implements [backends.ManyClaimer]. It makes up to 64 claims in one transaction and one
// round trip. If that fails, or if the pool's mode does not suit a batch, it makes each of them in
// a transaction of its own.
func (b *Backend) ClaimMany(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	results := make([]backends.ClaimResult, len(claims))
	places := make([]int, len(claims))
	for i := range places {
		places[i] = i
	}
	partition := func(place int) string { return backends.Partition(claims[place].Mailbox) }
	slices.SortFunc(places, func(x, y int) int { // the order of commits, too: no deadlocks
		return cmp.Compare(partition(x), partition(y))
	})
	for some := range slices.Chunk(places, together) {
		if !b.noBatches && b.claimTogether(ctx, claims, some, results) == nil {
			continue
		}
		for _, at := range some {
			results[at].Claimed, results[at].Err = b.Claim(ctx, claims[at])
		}
	}
	return results
}

// claimTogether makes the claims at some places, all or none.
func (b *Backend) claimTogether(ctx context.Context, claims []backends.Claim, places []int,
	results []backends.ClaimResult) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	for _, at := range places {
		batch.Queue(b.call.claim, claimArgs(claims[at])...)
	}
	replies := b.pool.SendBatch(ctx, batch)
	defer replies.Close()
	var again []int
	for _, at := range places {
		rows, err := replies.Query()
		answers, err := collect(rows, err, scanNew(claims[at]))
		if err != nil {
			return err
		}
		if repeats(answers) { // mutation: repeat-together
			again = append(again, at)
			continue
		}
		results[at].Claimed, results[at].Err = claimed(claims[at], answers, nil)
	}
	err := replies.Close()
	for _, at := range again {
		if err == nil {
			results[at].Claimed, results[at].Err = b.Claim(ctx, claims[at])
		}
	}
	return err
}
