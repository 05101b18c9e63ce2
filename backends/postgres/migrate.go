package postgres

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed schema.sql
var tables string

//go:embed functions.sql
var functions string

//go:embed create.sql
var creates string

// versions are the steps from each version of the schema to the next. The first step makes version
// 1. The code of a released step never changes.
var versions = []string{tables + functions + creates}

// MigrateOptions configure [Migrate]. The zero value is right for most programs.
type MigrateOptions struct {
	// Schema is as in [Options]. Migrate creates it if it does not exist. Default: "pendingq".
	Schema string

	// Grant names roles that get the rights that a Backend needs, and no more. Default: none, for a
	// program that connects as the owner.
	Grant []string
}

// Migrate brings the schema up to the version that this package needs, in one transaction. Several
// nodes may call it at once. If the schema has this version and Grant is empty, Migrate only reads.
// It returns an error if the schema has a later version. Opts may be nil.
//
// To create the schema, the role needs CREATE on the database. It then owns the schema.
func Migrate(ctx context.Context, pool *pgxpool.Pool, opts *MigrateOptions) error {
	o := MigrateOptions{}
	if opts != nil {
		o = *opts
	}
	o.Schema = cmp.Or(o.Schema, "pendingq")
	if err := checkSchema(o.Schema); err != nil {
		return err
	}
	have, err := knownVersion(ctx, pool, o.Schema)
	if err == nil && (have < len(versions) || len(o.Grant) > 0) {
		tx := pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
		err = pgx.BeginTxFunc(ctx, pool, tx, func(tx pgx.Tx) error { return migrate(ctx, tx, o) })
	}
	if err != nil {
		return fmt.Errorf("postgres: migrate: %w", err)
	}
	return nil
}

// notThere are the SQLSTATEs of an undefined table and schema.
var notThere = []string{"42P01", "3F000"}

// rowQuerier is a pool or a transaction.
type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// knownVersion calls version. It returns an error for a version that this program does not know.
func knownVersion(ctx context.Context, on rowQuerier, schema string) (have int, err error) {
	have, err = version(ctx, on, schema)
	if err == nil && have > len(versions) {
		err = fmt.Errorf("the schema has version %d; this program knows %d", have, len(versions))
	}
	return have, err
}

// version returns the version of a schema, or 0 if the schema does not exist.
func version(ctx context.Context, on rowQuerier, schema string) (have int, err error) {
	// The simple protocol prepares no statement, so it works through a pooler.
	err = on.QueryRow(ctx, named(schema, "SELECT coalesce(max(version), 0) FROM {s}.version"),
		pgx.QueryExecModeSimpleProtocol).Scan(&have)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && slices.Contains(notThere, refused.Code) {
		return 0, nil
	}
	return have, err
}

// migrate runs the missing steps under a lock that only one node holds at a time.
func migrate(ctx context.Context, tx pgx.Tx, o MigrateOptions) error {
	run := func(sql string) error {
		_, err := tx.Exec(ctx, named(o.Schema, sql)) // without arguments it may be many statements
		return err
	}
	if err := run("SELECT pg_advisory_xact_lock({key}, 65537)"); err != nil {
		return err
	}
	var exists bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)",
		pgx.QueryExecModeExec, o.Schema).Scan(&exists)
	if err == nil && !exists {
		err = run("CREATE SCHEMA {s}")
	}
	if err == nil {
		err = run("CREATE TABLE IF NOT EXISTS {s}.version (version int PRIMARY KEY, " +
			"made timestamptz NOT NULL DEFAULT now())")
	}
	if err != nil {
		return err
	}
	have, err := knownVersion(ctx, tx, o.Schema)
	if err != nil {
		return err
	}
	for i := have; i < len(versions); i++ {
		step := versions[i] + fmt.Sprintf(";INSERT INTO {s}.version (version) VALUES (%d)", i+1)
		if err := run(step); err != nil {
			return fmt.Errorf("to version %d: %w", i+1, err)
		}
	}
	for _, role := range o.Grant {
		sql := strings.ReplaceAll(smallestRights, "{role}", pgx.Identifier{role}.Sanitize())
		if err := run(sql); err != nil {
			return fmt.Errorf("grant rights to %s: %w", role, err)
		}
	}
	return nil
}

// smallestRights are all rights that a Backend needs in its schema.
const smallestRights = `
	GRANT USAGE ON SCHEMA {s} TO {role};
	GRANT SELECT ON {s}.version TO {role};
	GRANT SELECT, INSERT, UPDATE, DELETE ON {s}.request, {s}.claim, {s}.arrival TO {role};
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {s} TO {role};
`
