package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
)

// oldest is the oldest version of PostgreSQL that works, as server_version_num.
const oldest = 130000

// state is the state of the database that Check and Diagnose read.
type state struct {
	version                          int
	isolation, commit, fsync, vacuum string
	replica, readOnly                bool
	now                              time.Time
	sleeping                         time.Duration // of the transaction that is idle for longest
	connections, most                int
	live, dead                       int64
	stats, schema, rights, reads     bool
}

const stateQuery = `SELECT current_setting('server_version_num')::int,
	current_setting('default_transaction_isolation'), current_setting('synchronous_commit'),
	current_setting('fsync'), current_setting('autovacuum'),
	pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
	clock_timestamp(),
	coalesce((SELECT max(clock_timestamp() - a.state_change) FROM pg_stat_activity a
		WHERE a.datname = current_database()
			AND a.state LIKE 'idle in transaction%'), '0')::interval,
	(SELECT count(*) FROM pg_stat_activity a WHERE a.datname IS NOT NULL),
	current_setting('max_connections')::int,
	pg_has_role(current_user, 'pg_read_all_stats', 'MEMBER'),
	coalesce(pg_stat_get_live_tuples(c.oid), 0), coalesce(pg_stat_get_dead_tuples(c.oid), 0),
	c.oid IS NOT NULL,
	coalesce(has_schema_privilege(n.oid, 'USAGE')
		AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
		AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
		AND (SELECT count(*) = 2 AND bool_and(
			has_table_privilege(m.oid, 'SELECT') AND has_table_privilege(m.oid, 'INSERT')
			AND has_table_privilege(m.oid, 'UPDATE') AND has_table_privilege(m.oid, 'DELETE'))
			FROM pg_class m WHERE m.relnamespace = n.oid AND m.relname IN ('claim', 'arrival'))
		AND (SELECT bool_and(has_function_privilege(p.oid, 'EXECUTE'))
			FROM pg_proc p WHERE p.pronamespace = n.oid), false),
	coalesce(has_schema_privilege(n.oid, 'USAGE') AND (SELECT has_table_privilege(v.oid, 'SELECT')
		FROM pg_class v WHERE v.relnamespace = n.oid AND v.relname = 'version'), false)
	FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = $1
	LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'request'`

// look reads the state of the database.
func (b *Backend) look(ctx context.Context) (s state, err error) {
	row := b.pool.QueryRow(ctx, stateQuery, b.args(b.schema)...)
	err = row.Scan(&s.version, &s.isolation,
		&s.commit, &s.fsync, &s.vacuum, &s.replica, &s.readOnly, &s.now, &s.sleeping,
		&s.connections, &s.most, &s.stats, &s.live, &s.dead, &s.schema, &s.rights, &s.reads)
	return s, err
}

// problems adds findings about settings with which a Backend does not work.
func (d *diagnosis) problems(ctx context.Context, b *Backend, s state) {
	d.when(s.version < oldest, backends.SeverityProblem, "version",
		fmt.Sprintf("the server's version is %d.%d", s.version/10000, s.version%10000),
		"use PostgreSQL 13 or later")
	d.when(s.replica, backends.SeverityProblem, "replica",
		"this server is a standby, which takes no writes",
		"connect to the primary: target_session_attrs=read-write")
	d.when(s.readOnly && !s.replica, backends.SeverityProblem, "read-only",
		"transactions are read-only by default", "see default_transaction_read_only")
	d.when(s.isolation != "read committed", backends.SeverityProblem, "isolation",
		"default_transaction_isolation is "+s.isolation+
			": operations would not see the changes for which they waited",
		"give the pool's connections READ COMMITTED, as in the DSN's options")
	d.when(!s.schema, backends.SeverityProblem, "schema", "the schema or its tables do not exist",
		"call Migrate")
	if !s.schema {
		return
	}
	d.when(!s.rights || !s.reads, backends.SeverityProblem, "rights",
		"the role lacks rights in the schema",
		"call Migrate with this role in MigrateOptions.Grant")
	if s.reads {
		have, err := version(ctx, b.pool, b.schema)
		d.when(err == nil && have != len(versions), backends.SeverityProblem, "schema",
			fmt.Sprintf("the schema has version %d; this program needs %d", have, len(versions)),
			"call Migrate of the newest program")
		d.when(err != nil, backends.SeverityProblem, "schema",
			fmt.Sprintf("its version cannot be read: %v", err),
			"call Migrate")
	}
}

// diagnosis gathers findings.
type diagnosis struct{ findings []backends.Finding }

func (d *diagnosis) when(found bool, severity backends.Severity, subject, text, advice string) {
	if found {
		d.findings = append(d.findings, backends.Finding{Severity: severity, Subject: subject,
			Text: text, Advice: advice})
	}
}

// Check returns an error if the Backend cannot work. The error names each reason: the server's
// version, the schema, rights, a standby, the isolation. Check only reads. Call it when a program
// starts.
func (b *Backend) Check(ctx context.Context) error {
	s, err := b.look(ctx)
	if err != nil {
		return fmt.Errorf("postgres: check: %w", err)
	}
	d := &diagnosis{}
	d.problems(ctx, b, s)
	var all []error
	for _, f := range d.findings {
		all = append(all, fmt.Errorf("%s: %s; %s", f.Subject, f.Text, f.Advice))
	}
	if err := errors.Join(all...); err != nil {
		return fmt.Errorf("postgres: check: %w", err)
	}
	return nil
}

// Diagnose looks for dangers to pending requests in a pool and its database. It makes the checks of
// [Backend.Check]. It also looks at the size of the pool, settings, a pooler in between, the clock,
// idle transactions and dead rows. It only reads, and needs the rights of a Backend. To see the
// transactions of other roles, it also needs pg_read_all_stats. Pass the opts
// of New, which may be nil. The gravest findings come first. The error is about opts or a nil pool.
//
// Call it at start-up and from a health check, not for each request.
func Diagnose(ctx context.Context, pool *pgxpool.Pool, opts *Options) ([]backends.Finding, error) {
	b, err := New(pool, opts)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	d := &diagnosis{}
	before := time.Now()
	s, err := b.look(ctx)
	d.unreachable(err)
	if err == nil {
		d.problems(ctx, b, s)
		d.settings(s)
		d.pool(ctx, b)
		offset := s.now.Sub(before.Add(time.Since(before) / 2)).Round(time.Millisecond)
		d.when(offset.Abs() > time.Second, backends.SeverityInfo, "clock",
			fmt.Sprintf("the server's clock differs from this node's by %v", offset),
			"harmless here, since only the server's clock counts; logs of both are hard to compare")
	}
	slices.SortStableFunc(d.findings, backends.Finding.Compare)
	return d.findings, nil
}

func (d *diagnosis) unreachable(err error) {
	var refused *pgconn.PgError
	switch {
	case err == nil:
	case errors.As(err, &refused):
		d.when(true, backends.SeverityProblem, "connection", "the server refuses: "+refused.Message,
			"check the user's name, password and database")
	default:
		d.when(true, backends.SeverityProblem, "connection",
			fmt.Sprintf("the server cannot be reached: %v", err),
			"check that it is up and that the address is right")
	}
}

// settings checks the settings of the server.
func (d *diagnosis) settings(s state) {
	d.when(s.fsync == "off", backends.SeverityWarning, "fsync",
		"fsync is off: when the machine fails, the database may be damaged", "set fsync to on")
	d.when(s.commit == "off", backends.SeverityInfo, "commit",
		"synchronous_commit is off: when the server fails, it loses the last moments, about 600 ms",
		"leave it off if callers can repeat and claims may be handed out twice")
	d.when(s.vacuum == "off", backends.SeverityWarning, "autovacuum",
		"autovacuum is off: the tables will grow without bound", "set autovacuum to on")
	d.when(s.sleeping > time.Minute, backends.SeverityWarning, "transaction",
		fmt.Sprintf("a transaction has been idle for %v: dead rows stay until it ends",
			s.sleeping.Round(time.Second)),
		"set idle_in_transaction_session_timeout")
	d.when(!s.stats, backends.SeverityInfo, "transaction",
		"the role cannot see how long transactions of other roles have been idle",
		"to have them checked too, grant it pg_read_all_stats")
	d.when(s.dead > 10_000 && s.dead > 4*s.live, backends.SeverityWarning, "bloat",
		fmt.Sprintf("%d dead rows beside %d live ones", s.dead, s.live),
		"check what holds up autovacuum: old transactions, replication slots, or its settings")
	d.when(s.connections*10 > s.most*9, backends.SeverityWarning, "connections",
		fmt.Sprintf("%d of max_connections %d are in use", s.connections, s.most),
		"raise max_connections, or use smaller pools")
}

// pool checks the size of the pool, and looks for a pooler in between. A pooler gives a client
// another process id than the server.
func (d *diagnosis) pool(ctx context.Context, b *Backend) {
	if most := b.pool.Config().MaxConns; most < 4 {
		d.when(true, backends.SeverityWarning, "pool",
			fmt.Sprintf("the pool has at most %d connections", most),
			"give it 4 or more; wake-ups use two more connections")
	}
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		d.unreachable(err)
		return
	}
	defer conn.Release()
	var pid uint32
	err = conn.QueryRow(ctx, "SELECT pg_backend_pid() WHERE $1", b.args(true)...).Scan(&pid)
	d.unreachable(err)
	pooled := err == nil && pid != conn.Conn().PgConn().PID()
	d.when(pooled && !b.wakes.pollOnly, backends.SeverityWarning, "pooler",
		"a pooler is between the client and the server",
		"if it pools by transaction, set Options.PollOnly")
	d.when(pooled && b.wakes.pollOnly, backends.SeverityInfo, "pooler",
		"a pooler is between the client and the server: waiters in other processes poll",
		"to have them woken, let all processes connect to the server itself")
}
