package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
)

// Options changes how a Backend uses the database. The zero value is right for most.
type Options struct {
	// Schema is the schema with the tables and functions, which [Migrate] has made. Its name has at
	// most 48 bytes of UTF-8, no NUL and no "$$". Default: "pendingq".
	Schema string

	// PollOnly is for a pooler that gives each transaction another connection, such as pgbouncer in
	// transaction mode. The Backend then neither notifies nor listens, and keeps no prepared
	// statements. Waiters in other processes find its changes by polling. So set PollOnly in all
	// processes.
	// The pool needs a DescriptionCacheCapacity above 0; pgx's default is 512.
	PollOnly bool

	// PollInterval is how often a waiter looks again without a wake-up, give or take a quarter. It
	// bounds how long a lost wake-up delays a waiter, and how late an expired lease is claimed
	// again. At least 10 ms. Default: 15 s, or 500 ms with PollOnly.
	PollInterval time.Duration
}

// check fills in defaults. It returns an error for an invalid field.
func (o Options) check() (Options, error) {
	o.Schema = cmp.Or(o.Schema, "pendingq")
	interval := 15 * time.Second
	if o.PollOnly {
		interval = 500 * time.Millisecond
	}
	o.PollInterval = cmp.Or(o.PollInterval, interval)
	if o.PollInterval < 10*time.Millisecond {
		return o, fmt.Errorf("postgres: Options.PollInterval is %v, want at least 10ms",
			o.PollInterval)
	}
	return o, checkSchema(o.Schema)
}

// checkSchema checks a name. The bodies of the functions are between $$ and $$, and contain it.
func checkSchema(name string) error {
	if len(name) > 48 || !utf8.ValidString(name) || strings.ContainsRune(name, 0) ||
		strings.Contains(name, "$$") {
		return fmt.Errorf("postgres: the schema's name is %q; want at most 48 bytes of UTF-8, "+
			"no NUL and no $$", name)
	}
	return nil
}

// Backend is a [backends.Backend] in PostgreSQL. It also is a [backends.Waker], a
// [backends.ManyClaimer] and a [backends.Lister]. Make one with [New].
type Backend struct {
	pool    *pgxpool.Pool
	schema  string
	poll    time.Duration
	call    calls
	wakes   *wakes
	sweeper *sweeper

	queryOptions []any // how pgx executes statements: the first arguments of a query
	noBatches    bool  // the pool's mode is another one, and a batch cannot choose a mode
}

// calls are the statements of a Backend.
type calls struct {
	plainCreate, plainGet, plainEnd string // tried before create, get and end

	create, get, pending, claim, claimed, extend, cancel, end, list, mailboxes, sweep string
}

// These plain statements cost the server less than a function. They decide the usual case, under
// the locks of that function. Their snapshot may be older than their lock. So if a statement
// returns no row, the function decides.
const (
	// Creators of one id take turns. If the first one is a caller's open transaction, the others
	// wait for it before they hold the partition. If a record has the id, even an expired one, the
	// insert does nothing.
	plainCreate = `INSERT INTO {s}.request (store, id, mailbox, live, status, attempt, codec,
			payload, headers, created, updated, deadline, last_deadline, rank, expires, sweep)
		SELECT $2, $3, $4, true, 'pending', 0, $5, $6, $7, c.t, c.t, c.t + $8::interval,
			c.t + $8, c.t + $8, c.t + $9::interval, c.t + $9
		-- mutation: plain-creators
		FROM (SELECT CASE WHEN pg_advisory_xact_lock(hashtextextended($3, {key} + 1)) IS NULL
			-- mutation: plain-part
			THEN NULL ELSE {s}.lock_to_add($1::int, false) END AS t OFFSET 0) c
		ON CONFLICT DO NOTHING
		RETURNING 'new', created`

	// An ended record never changes, so it needs no locks. A live row whose xmax is 0 has no newer
	// version, and no transaction is changing it. Otherwise the function decides.
	// mutation: unsure
	plainGet = `SELECT CASE WHEN q.live AND q.xmax <> '0'::xid THEN 'unsure' ELSE 'ok' END,
			clock_timestamp(), {get} FROM {s}.request q
		WHERE q.store = $2 AND q.id = $3 AND q.expires >=
			-- mutation: plain-expired, plain-read
			CASE WHEN q.live THEN {s}.lock_to_read($1::int, $3) ELSE clock_timestamp() END`

	// The condition takes the locks. SET reads the clock later, so it limits updated.
	plainEnd = `UPDATE {s}.request q SET live = false, status = $6, error = $7, codec = $8,
			payload = $9, updated = least(clock_timestamp(), q.last_deadline),
			cancelled_as = NULL, cancel_reason = NULL,
			expires = clock_timestamp() + $10::interval, sweep = clock_timestamp() + $10
		-- mutation: plain-ended, plain-attempt
		WHERE q.store = $2 AND q.id = $3 AND q.live::int = 1 AND q.attempt = $4::int
			AND ($5::timestamptz IS NULL OR q.started = $5) -- mutation: plain-started
			AND q.last_deadline >= {s}.lock_request($1::int, $3) -- mutation: plain-over
		RETURNING 'ok', q.updated, {end}`
)

// New returns a Backend that uses the pool. The caller closes the pool, after the Backend. New
// sends nothing to the server. Opts may be nil. New refuses a pool whose connections have an
// OnNotification handler, unless opts set PollOnly.
func New(pool *pgxpool.Pool, opts *Options) (*Backend, error) {
	if pool == nil {
		return nil, errors.New("postgres: the pool is nil")
	}
	if opts == nil {
		opts = &Options{}
	}
	o, err := opts.check()
	if err != nil {
		return nil, err
	}
	conf := pool.Config().ConnConfig
	if o.PollOnly && conf.DescriptionCacheCapacity == 0 {
		return nil, errors.New("postgres: PollOnly needs a pool with a DescriptionCacheCapacity " +
			"above 0")
	}
	if !o.PollOnly && conf.OnNotification != nil {
		return nil, errors.New("postgres: the pool has an OnNotification handler, which would " +
			"take the Backend's notifications; give the Backend a pool of its own, or set PollOnly")
	}
	b := &Backend{pool: pool, schema: o.Schema, poll: o.PollInterval, call: newCalls(o.Schema)}
	b.queryOptions = queryOptions(conf, o.PollOnly)
	b.noBatches = b.queryOptions[0] != conf.DefaultQueryExecMode
	b.wakes = newWakes(pool, channel(o.Schema), o.PollOnly)
	b.sweeper = newSweeper(b)
	return b, nil
}

func newCalls(schema string) calls {
	sql := func(text string) string { return named(schema, text) }
	const from = "SELECT * FROM {s}."
	return calls{
		plainCreate: sql(plainCreate), plainGet: sql(plainGet),
		plainEnd: sql(plainEnd),

		create: sql(from + "create_request($1::int, $2, $3, $4, $5, $6, $7, $8, $9, $10, " +
			"$11::int, $12)"),
		get:     sql(from + "get_request($1::int, $2, $3)"),
		claim:   sql(from + "claim_requests($1::int, $2, $3, $4, $5, $6, $7, $8, $9)"),
		claimed: sql(from + "claimed_requests($1::int, $2, $3, $4)"),
		extend: sql(from +
			"extend_request($1::int, $2, $3, $4::int, $5, $6, $7, $8, $9, $10, $11)"),
		cancel: sql(from + "cancel_request($1::int, $2, $3, $4, $5, $6, $7)"),
		end:    sql(from + "end_request($1::int, $2, $3, $4::int, $5, $6, $7, $8, $9, $10)"),

		pending:   sql("SELECT {s}.has_pending($1::int, $2, $3)"),
		list:      sql(listed),
		mailboxes: sql(mailboxes),
		sweep:     sql("SELECT done, next, clock_timestamp() FROM {s}.sweep($1::int)"),
	}
}

// named replaces the words in braces in a statement: see schema.sql.
func named(schema, text string) string {
	h := fnv.New32a()
	h.Write([]byte(schema))
	key := strconv.Itoa(int(h.Sum32() >> 2)) // fits an int of PostgreSQL, as does {key} + 1
	return strings.NewReplacer("{s}", pgx.Identifier{schema}.Sanitize(), "{key}", key,
		"{channel}", channel(schema), "{end}", forEnd, "{get}", forGet, "{record}", record,
		"{head}", head).Replace(text)
}

// channel returns the channel for the wake-ups of a schema. Its name is a hash: it is short enough
// for PostgreSQL, and has none of the schema's characters.
func channel(schema string) string {
	return "pendingq_" + strings.ToLower(backends.Digest("channel", schema))
}

// Close closes the connections for wake-ups, stops the sweep of expired records, and waits until
// both have ended. It leaves the pool open. Remaining waiters poll from then on.
func (b *Backend) Close() error {
	b.wakes.close()
	b.sweeper.close()
	return nil
}

// part returns the number of a partition, from its 4 hex digits.
func part(hex string) int {
	n, _ := strconv.ParseUint(hex, 16, 16)
	return int(n)
}

func partOf(id string) int { return part(backends.PartitionOf(id)) }

// Create implements [backends.Backend]. See [InTx] for the caller's own transaction.
func (b *Backend) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	tx, bound := boundTx(ctx)
	a, err := b.add(ctx, tx, c)
	b.sweeper.start()
	if !bound && (err != nil || a.code == "new") {
		b.wakes.tell(mailboxTopic(c.Mailbox)) // after an error the request may exist
	}
	if err != nil {
		return backends.Record{}, err
	}
	switch a.code {
	case "new":
		return c.Record(a.now), nil
	case "old":
		return a.record()
	case "busy":
		return backends.Record{}, &backends.BusyError{ID: a.rec.ID}
	case "full":
		return backends.Record{}, backends.ErrFull
	}
	return backends.Record{}, a.unexpected()
}

// add stores a new request, in the caller's transaction unless tx is nil.
func (b *Backend) add(ctx context.Context, tx pgx.Tx, c backends.Create) (answer, error) {
	var headers []byte
	if len(c.Headers) > 0 {
		headers, _ = json.Marshal(c.Headers) // strings cannot fail
	}
	// Each call copies its arguments, so both calls may append to these.
	request := append(make([]any, 0, 12), partOf(c.ID), c.Store, c.ID, []byte(c.Mailbox), c.Codec,
		notNil(c.Payload), headers, c.PendingTimeout)
	if tx == nil && !c.Exclusive && c.MaxPending == 0 { // mutation: exclusive, cap
		a, err := b.ask(ctx, b.call.plainCreate, append(request, c.PendingTimeout+c.Retention)...)
		if a.code != "" || err != nil { // mutation: exists
			return a, err
		}
	}
	request = append(request, c.Retention, c.Exclusive, c.MaxPending)
	if tx == nil {
		return b.ask(ctx, b.call.create, append(request, nil)...)
	}
	options := queryOptions(tx.Conn().Config(), b.wakes.pollOnly)
	request = append(request, b.topic(c.Mailbox))
	return ask(ctx, tx, b.call.create, append(options, request...))
}

func notNil(payload []byte) []byte {
	if payload == nil {
		return []byte{}
	}
	return payload
}

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, store, id string) (backends.Record, error) {
	a, err := b.ask(ctx, b.call.plainGet, partOf(id), store, id)
	if err == nil && a.code != "ok" { // mutation: get
		a, err = b.ask(ctx, b.call.get, partOf(id), store, id)
	}
	switch {
	case err != nil:
		return backends.Record{}, err
	case a.code == "":
		return backends.Record{}, backends.ErrNotFound
	}
	a.rec.ID = id
	return a.record()
}

// HasPending implements [backends.Backend].
func (b *Backend) HasPending(ctx context.Context, store, mailbox string) (has bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	args := b.args(part(backends.Partition(mailbox)), store, []byte(mailbox))
	err = b.pool.QueryRow(ctx, b.call.pending, args...).Scan(&has)
	return has, wrap(err)
}

// Extend implements [backends.Backend].
func (b *Backend) Extend(ctx context.Context, e backends.Extend) (backends.Lease, error) {
	lasts, waits := e.RunningTimeout, time.Duration(0)
	if e.Release {
		// The request is claimable one microsecond later.
		lasts = e.After - time.Microsecond // mutation: release
	}
	if e.Attempt < e.MaxAttempts { // mutation: attempts
		waits = e.PendingTimeout
	}
	a, err := b.decide(ctx, b.call.extend, partOf(e.ID), e.Store, e.ID, e.Attempt,
		orNull(e.StartedAt), e.Codec, notNil(e.Payload), lasts, waits, e.Retention, e.Release)
	if refused(err) {
		return backends.Lease{}, err
	}
	if e.Codec != "" || e.Release {
		b.wakes.tell(requestTopic(e.ID))
	}
	if e.Release {
		b.wakes.tell(mailboxTopic(cmp.Or(a.rec.Mailbox, e.Mailbox)))
	}
	return backends.Lease{UpdatedAt: a.now, Deadline: a.rec.Deadline,
		CancelledAs: a.rec.CancelledAs, CancelReason: a.rec.CancelReason}, err
}

// Cancel implements [backends.Backend].
func (b *Backend) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	a, err := b.decide(ctx, b.call.cancel, partOf(c.ID), c.Store, c.ID, c.Outcome,
		[]byte(c.Error), c.Grace, c.Retention)
	return b.changed(c.ID, a, err)
}

// End implements [backends.Backend].
func (b *Backend) End(ctx context.Context, e backends.End) (backends.Record, error) {
	args := []any{partOf(e.ID), e.Store, e.ID, e.Attempt, orNull(e.StartedAt), e.Outcome,
		[]byte(e.Error), e.Codec, notNil(e.Payload), e.Retention}
	a, err := b.decide(ctx, b.call.plainEnd, args...)
	if errors.Is(err, backends.ErrNotFound) { // mutation: end
		a, err = b.decide(ctx, b.call.end, args...)
	}
	a.rec.ID, a.rec.Status, a.rec.Error = e.ID, e.Outcome, e.Error
	return b.changed(e.ID, a, err)
}

// changed wakes the waiters of a request, unless the operation was refused. It returns the record
// without its payload.
func (b *Backend) changed(id string, a answer, err error) (backends.Record, error) {
	if !refused(err) {
		b.wakes.tell(requestTopic(id))
		b.sweeper.start()
	}
	if err != nil {
		return backends.Record{}, err
	}
	a.rec.Codec, a.rec.Payload = "", nil
	return a.record()
}

// refused reports whether the error is a refusal. A refused operation has changed nothing. After
// any other error it may have changed the request.
func refused(err error) bool {
	return errors.Is(err, backends.ErrNotFound) || errors.Is(err, backends.ErrEnded) ||
		errors.Is(err, backends.ErrStaleClaim)
}

// decide makes a call that changes a request, or is refused.
func (b *Backend) decide(ctx context.Context, sql string, args ...any) (answer, error) {
	a, err := b.ask(ctx, sql, args...)
	if err != nil {
		return answer{}, err
	}
	switch a.code {
	case "ok":
		return a, nil
	case "":
		return answer{}, backends.ErrNotFound
	case "stale":
		return answer{}, backends.ErrStaleClaim
	case "ended":
		rec, err := a.record()
		if err != nil {
			return answer{}, err
		}
		return answer{}, &backends.EndedError{Record: rec}
	}
	return answer{}, a.unexpected()
}
