package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// ask makes a call that returns at most one row. Without a row the code of the answer is empty.
func (b *Backend) ask(ctx context.Context, sql string, args ...any) (answer, error) {
	return ask(ctx, b.pool, sql, b.args(args...))
}

func ask(ctx context.Context, on querier, sql string, args []any) (a answer, err error) {
	rows, err := query(ctx, on, sql, args)
	err = read(rows, err, func(columns [][]byte) (err error) {
		a, err = scanAnswer(columns)
		return err
	})
	return a, err
}

// args returns the query options and then the arguments of a statement, in a new slice.
func (b *Backend) args(args ...any) []any { return append(slices.Clip(b.queryOptions), args...) }

func query(ctx context.Context, on querier, sql string, args []any) (pgx.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rows, err := on.Query(ctx, sql, args...)
	return rows, wrap(err)
}

// read passes each row of a query to scan, until scan returns an error. It closes the rows.
func read(rows pgx.Rows, err error, scan func(columns [][]byte) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows.RawValues()); err != nil {
			return err
		}
	}
	return wrap(rows.Err())
}

// queryOptions returns how pgx is to execute statements on a connection, as the first arguments of
// a query.
// Answers must be binary. Exec and SimpleProtocol ask for text. PollOnly must keep no prepared
// statements. CacheDescribe suits both.
func queryOptions(conf *pgx.ConnConfig, pollOnly bool) []any {
	mode := conf.DefaultQueryExecMode
	if pollOnly || mode == pgx.QueryExecModeExec || mode == pgx.QueryExecModeSimpleProtocol {
		mode = pgx.QueryExecModeCacheDescribe
		if conf.DescriptionCacheCapacity == 0 {
			mode = pgx.QueryExecModeDescribeExec // takes a second round trip
		}
	}
	return []any{mode, pgx.QueryResultFormats{pgx.BinaryFormatCode}}
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("postgres: %w", err)
}
