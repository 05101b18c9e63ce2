// Package postgres keeps pending requests in PostgreSQL 13 or later, through pgx v5. Its tests run
// on version 15. All nodes that use the same database and schema see the same requests:
//
//	pool, err := pgxpool.New(ctx, "postgres://localhost/app")
//	...
//	err = postgres.Migrate(ctx, pool, nil)
//	...
//	backend, err := postgres.New(pool, nil)
//	...
//	defer backend.Close()
//	store, err := pending.New(backend, codec.JSON[Job](), policy)
//
// # What it needs
//
// A database that takes writes, with READ COMMITTED as its default isolation, which is
// PostgreSQL's own default. A pool of 4 or more connections; about as many as operations run at
// once. Two further connections for wake-ups: see there. Give each context a deadline: pgx then
// returns in time, even if the server is frozen. [Backend.Check] and [Diagnose] tell what is
// missing.
//
// # Atomic operations
//
// Every operation is one statement, so one round trip and one transaction. Get, End and a Create
// without a limit are plain statements, which cost the server least. The other statements call
// PL/pgSQL functions. If a plain statement does not find the row that it needs, a function decides,
// in a second round trip. So a refusal and the repeat of a Create, a Claim or an End take two.
//
// An operation first takes advisory locks, of the mailbox's partition and of the request. Then it
// reads the server's clock. So the order of the clock is the order of the operations, and a timeout
// that somebody has read is never followed by another end. Advisory locks live in memory and end
// with the transaction.
//
// Operations on single requests share the lock of their partition, so their commits reach the disk
// together. A claim, and a Create with Exclusive or MaxPending, has the partition alone until its
// commit. There are 65,536 partitions: a mailbox that is busy rarely holds up another.
//
// With synchronous_commit off, operations need not wait for the disk. After a crash the server has
// then lost its last moments, at most three times wal_writer_delay, and a claim that it has
// acknowledged may be handed out again.
//
// # Schema
//
// [Migrate] creates and updates the schema; its name is "pendingq" unless you choose another. No
// search_path matters. There are the tables request, claim and version, and the functions. The
// table request has three indexes. Claims and extensions change no column of them, so they are
// heap-only updates, unless another attempt may follow. A poll of a mailbox without live requests
// is one probe of one index, for however many stores.
//
// # Rights
//
// A program whose role owns the schema needs nothing else. Any other role needs what
// MigrateOptions.Grant grants, and no more:
//
//	USAGE on the schema
//	SELECT on version
//	SELECT, INSERT, UPDATE, DELETE on request and claim
//	EXECUTE on the functions, which PUBLIC has unless it was revoked
//
// # Transactions
//
// With [InTx], Create stores its request in the caller's transaction, beside the rows that the
// request is about.
//
// # Wake-ups
//
// NOTIFY locks the whole server at commit. So operations do not notify. Each process gathers its
// changes, and sends at most one notification in 10 ms on a connection of its own. On another
// connection it listens, for all its waiters. Both are made when they are needed first, and made
// again when they are lost. Then all waiters look once. A process that dies between a commit and
// its notification leaves waiters of other processes to their next poll: see Options.PollInterval.
// Only a transaction of [InTx] notifies at its own commit.
//
// # Pgbouncer
//
// A pooler in session mode needs nothing. In transaction mode, set Options.PollOnly: then no
// statement is prepared, and nothing is kept in a session. Waiters of the same process are still
// woken. Waiters of other processes poll. InTx works, too.
//
// # Maintenance
//
// Processes that create or end requests free expired records in the background, up to 500 rows at a
// time, and pass over what is locked. Migrate lets autovacuum begin at 500 dead rows and 2 %, and
// leaves room in each page for heap-only updates (fillfactor 70). Autovacuum must be on.
// A transaction that stays open for hours keeps dead rows from being freed, as does a replication
// slot that nobody reads: set idle_in_transaction_session_timeout.
package postgres
