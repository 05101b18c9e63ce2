package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

type txKey struct{}

// InTx returns a context with which Create stores its request in the caller's transaction. The
// request becomes visible with the commit of tx, which also wakes the waiters of the mailbox,
// unless the Backend has PollOnly. After a rollback the request does not exist. Only Create uses
// the transaction: all other operations go through the pool. The transaction must be one of the
// Backend's database.
//
//	tx, err := pool.Begin(ctx)
//	...
//	_, err = tx.Exec(ctx, "INSERT INTO orders ...")
//	request, err := store.Create(postgres.InTx(ctx, tx), mailbox, payload)
//	err = tx.Commit(ctx)
//
// The request begins with the commit. Create returns the times of the call. The commit moves the
// stored CreatedAt and Deadline to its own time. So a request does not time out while a long
// transaction is open. Exclusive and MaxPending are checked twice: by Create and by the commit. If
// other requests were stored in between, the commit fails with [CommitBusy] or [CommitFull].
//
// A second creator of the same id waits until the transaction has ended. So two transactions that
// create the same ids in different orders may deadlock. PostgreSQL then ends one of the two.
// Mailboxes are locked at the commit, in one order for all, after the deferred constraints and
// triggers of the transaction. So these locks never deadlock, with two exceptions. Work that a
// deferred trigger itself defers may come after the locks. Such work must not wait for another open
// transaction. After SET CONSTRAINTS ALL IMMEDIATE, Create itself does the work of the commit. It
// then locks the mailbox until the end of the transaction.
//
// Use READ COMMITTED. Under REPEATABLE READ and SERIALIZABLE, a Create with Exclusive or MaxPending
// returns an error. Other Creates work, but a statement or the commit may fail with SQLSTATE 40001.
// Under SERIALIZABLE this is frequent: transactions with a Create that overlap abort each other,
// even if their mailboxes differ. Then roll back, and repeat the whole transaction.
func InTx(ctx context.Context, tx pgx.Tx) context.Context {
	return context.WithValue(ctx, txKey{}, tx)
}

// The SQLSTATEs of a commit that was refused: see [InTx]. They are the Code of a pgconn.PgError.
const (
	CommitBusy = "PQ001" // the store is Exclusive, and the mailbox now has another live request
	CommitFull = "PQ002" // the mailbox now holds MaxPending other requests
)

func boundTx(ctx context.Context) (pgx.Tx, bool) {
	tx, ok := ctx.Value(txKey{}).(pgx.Tx)
	return tx, ok && tx != nil
}

// topic returns the topic that the commit notifies, or "" with PollOnly.
func (b *Backend) topic(mailbox string) string {
	if b.wakes.pollOnly {
		return ""
	}
	return mailboxTopic(mailbox)
}
