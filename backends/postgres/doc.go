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
//   - A database that takes writes.
//   - READ COMMITTED as the default isolation, which is PostgreSQL's own default.
//   - A pool of at least 4 connections, and of about as many as operations run at once. Wake-ups
//     use two more connections: see below.
//
// Give each context a deadline: pgx then returns in time, even if the server is frozen.
// [Backend.Check] and [Diagnose] name each requirement that is not met.
//
// # Atomic operations
//
// Every operation is one statement, so one round trip and one transaction, with few exceptions.
// Get, End and a Create without a limit are plain statements, which cost the server least. The
// other statements call PL/pgSQL functions. If a plain statement does not find the row that it
// needs, a function decides in a second round trip. These take two: a refused Get or End, the
// repeat of a Create, a Claim or an End, and a Get of a request that is being changed.
//
// An operation first takes advisory locks: of the mailbox's partition, and of the request. Then it
// reads the server's clock. So the order of the clock is the order of the operations. Once a caller
// has read a timeout, the request cannot end in another way. Advisory locks live in memory and end
// with the transaction.
//
// Operations on single requests share the lock of their partition, so their commits reach the disk
// together. Claim, HasPending, and Create with Exclusive or MaxPending lock the partition
// exclusively until their commit. So a second claim waits for the commit of the first, and sees
// its changes: under READ COMMITTED each statement of a function has a snapshot of its own. There
// are 65,536 partitions, so a busy mailbox rarely delays another.
//
// With synchronous_commit off, operations do not wait for the disk. A crash then loses the commits
// of the last three wal_writer_delay, 600 ms by default. Claims among them may be handed out again.
//
// # Schema
//
// [Migrate] creates and updates the schema; its name is "pendingq" unless you choose another. The
// search_path does not matter. The schema has functions, and the tables request, claim, arrival and
// version. The table request has three indexes. If no further attempt can follow, claims and
// extensions change no indexed column, so they are heap-only updates. A claim in a mailbox without
// live requests is one probe of one index, for any number of stores.
//
// # Rights
//
// A program whose role owns the schema needs nothing else. Any other role needs what
// MigrateOptions.Grant grants, and no more:
//
//	USAGE on the schema
//	SELECT on version
//	SELECT, INSERT, UPDATE, DELETE on request, claim and arrival
//	EXECUTE on the functions, which PUBLIC has unless it was revoked
//
// # Transactions
//
// With [InTx], Create stores its request in the caller's transaction, together with the caller's
// own rows. The request begins with the commit. Until then it delays no other operation, except
// another Create of the same id.
//
// # Wake-ups
//
// NOTIFY locks the whole server at commit. So operations do not notify. Each process gathers its
// changes, and sends at most one notification in 10 ms on a connection of its own. On another
// connection it listens for all its waiters. It opens both when they are first needed. When one is
// lost, it opens a new one, and all waiters look once. If a process dies between a commit and its
// notification, waiters of other processes find the change at their next poll: see
// Options.PollInterval. Only a transaction of [InTx] notifies at its own commit.
//
// # Pgbouncer
//
// A pooler in session mode needs no settings. In transaction mode, set Options.PollOnly: then the
// Backend keeps no prepared statements and no state in a session. It wakes the waiters of its own
// process. Waiters of other processes find its changes at their own PollInterval: 15 s, unless they
// set PollOnly or PollInterval too. So use one mode in all processes. The commit of a transaction
// of InTx wakes nobody.
//
// # Maintenance
//
// Processes that create or end requests free expired records in the background, up to 500 rows at a
// time. They skip locked rows. Migrate lets autovacuum begin at 500 dead rows and 2 %, and leaves
// room in each page for heap-only updates (fillfactor 70). Autovacuum must be on.
//
// No operation waits for a transaction that stays open, except for a Create of an id that the
// transaction has created, and as [InTx] says of triggers that defer further work. But dead rows
// cannot be freed meanwhile: set idle_in_transaction_session_timeout. A replication slot that
// nobody reads has the same effect.
package postgres
