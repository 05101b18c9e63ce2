package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pendingq/pendingq/backends"
)

var _ backends.ManyClaimer = (*Backend)(nil)

// Claim implements [backends.Backend]. The repeat of a claim takes a second round trip.
func (b *Backend) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	args := claimArgs(c)
	rows, err := query(ctx, b.pool, b.call.claim, b.args(args...))
	results, repeats, err := readClaim(c, rows, err)
	if err == nil && repeats { // mutation: repeat
		rows, err = query(ctx, b.pool, b.call.claimed, b.args(args[:4]...))
		err = read(rows, err, func(columns [][]byte) error {
			a, err := scanAnswer(columns)
			at := slices.IndexFunc(c.From, func(f backends.From) bool { return f.Store == a.store })
			if err != nil || at < 0 {
				return errStrange
			}
			put(&results[at], a)
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

// readClaim reads the requests that a claim takes. Repeats is true if the claim was made before:
// then the only row has no id.
func readClaim(c backends.Claim, rows pgx.Rows, err error) (
	results []backends.Claimed, repeats bool, _ error) {
	results = make([]backends.Claimed, len(c.From))
	err = read(rows, err, func(columns [][]byte) error {
		a, at, err := scanNew(c, columns)
		switch {
		case err != nil:
			return err
		case a.rec.ID == "":
			repeats = true
		default:
			put(&results[at], a)
		}
		return nil
	})
	return results, repeats, err
}

// scanNew reads a request that a claim takes now, and the place of its store in the claim.
func scanNew(c backends.Claim, columns [][]byte) (a answer, at int, err error) {
	row, rec := values{columns: columns}, &a.rec
	at, a.now = row.int(), row.time()
	rec.ID, rec.Attempt, rec.Codec = row.text(), row.int(), row.text()
	rec.Payload, a.headers = row.bytes(), row.bytes()
	rec.CreatedAt, rec.LastDeadline = row.time(), row.time()
	if row.strange || at < 0 || at >= len(c.From) {
		return a, 0, errStrange
	}
	rec.Mailbox, rec.Status = c.Mailbox, backends.StatusRunning
	rec.UpdatedAt, rec.StartedAt = a.now, a.now
	rec.Deadline = a.now.Add(c.From[at].RunningTimeout)
	return a, at, nil
}

// put adds a request to the result for its store.
func put(from *backends.Claimed, a answer) {
	if rec, err := a.record(); err != nil {
		from.Errs = append(from.Errs, err)
	} else {
		from.Records = append(from.Records, rec)
	}
}

func claimArgs(c backends.Claim) []any {
	each := func(value func(f *backends.From) any) any { return column{c.From, value} }
	return []any{part(backends.Partition(c.Mailbox)), c.ID, []byte(c.Mailbox),
		each(func(f *backends.From) any { return f.Store }),
		each(func(f *backends.From) any { return int32(f.Limit) }),
		each(func(f *backends.From) any { return int32(f.MaxAttempts) }),
		each(func(f *backends.From) any { return f.PendingTimeout }),
		each(func(f *backends.From) any { return f.RunningTimeout }),
		each(func(f *backends.From) any { return f.Retention }),
	}
}

// column is an array with a value for each store of a claim. pgx asks it for the values, so a claim
// needs no slices of them.
type column struct {
	from  []backends.From
	value func(f *backends.From) any
}

// Dimensions implements [pgtype.ArrayGetter].
func (c column) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(c.from)), LowerBound: 1}}
}

// Index implements [pgtype.ArrayGetter].
func (c column) Index(i int) any { return c.value(&c.from[i]) }

// IndexType implements [pgtype.ArrayGetter].
func (c column) IndexType() any { return c.value(&backends.From{}) }

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
		got, repeats, err := readClaim(claims[at], rows, err)
		if err != nil {
			return err
		}
		if repeats { // mutation: repeat-together
			again = append(again, at)
			continue
		}
		results[at].Claimed, results[at].Err = got, nil
	}
	err := replies.Close()
	for _, at := range again {
		if err == nil {
			results[at].Claimed, results[at].Err = b.Claim(ctx, claims[at])
		}
	}
	return err
}
