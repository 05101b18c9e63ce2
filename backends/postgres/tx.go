package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pendingq/pendingq/backends"
)

type txKey struct{}

// InTx returns a context with which Create stores its request in the caller's transaction. The
// request becomes visible with the commit of tx, which wakes its waiters, and never after a
// rollback. Only Create looks at it: all other operations go through the pool. The transaction must
// be one of the Backend's database.
//
//	tx, err := pool.Begin(ctx)
//	...
//	_, err = tx.Exec(ctx, "INSERT INTO orders ...")
//	request, err := store.Create(postgres.InTx(ctx, tx), mailbox, payload)
//	err = tx.Commit(ctx)
//
// The request begins with the commit. Create returns the times of the call. The commit
// moves the stored CreatedAt and Deadline to its own time. So a long transaction makes no request
// dead on arrival. A store that is Exclusive or has MaxPending is checked twice: by Create, and by
// the commit, which fails with [CommitBusy] or [CommitFull] if others came first.
//
// A second creator of the same id waits until the transaction has ended. Two transactions that
// create the same requests in different order may be a deadlock, which PostgreSQL ends.
func InTx(ctx context.Context, tx pgx.Tx) context.Context {
	return context.WithValue(ctx, txKey{}, tx)
}

// The SQLSTATE of the error of a commit that was refused: see [InTx]. It is the Code of a
// pgconn.PgError.
const (
	CommitBusy = "PQ001" // the store is Exclusive, and the mailbox has a live request by now
	CommitFull = "PQ002" // the mailbox holds MaxPending by now
)

func boundTx(ctx context.Context) (pgx.Tx, bool) {
	tx, ok := ctx.Value(txKey{}).(pgx.Tx)
	return tx, ok && tx != nil
}

// binding returns the values that the commit needs about a request.
func (b *Backend) binding(c backends.Create) []string {
	topic := mailboxTopic(c.Mailbox)
	if b.wakes.pollOnly {
		topic = ""
	}
	return []string{fmt.Sprint(c.Exclusive), fmt.Sprint(c.MaxPending), topic}
}
