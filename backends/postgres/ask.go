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

// ask makes a call and returns its answers.
func (b *Backend) ask(ctx context.Context, on querier, sql string, args ...any) ([]answer, error) {
	return ask(ctx, on, scanAnswer, sql, b.args(args))
}

func ask(ctx context.Context, on querier, scan func(*values) answer, sql string, args []any) (
	[]answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rows, err := on.Query(ctx, sql, args...)
	return collect(rows, err, scan)
}

// collect reads the answers of a query.
func collect(rows pgx.Rows, err error, scan func(*values) answer) (answers []answer, _ error) {
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	for rows.Next() {
		row := values{columns: rows.RawValues()}
		answers = append(answers, scan(&row))
		if row.strange {
			return nil, errStrange
		}
	}
	return answers, wrap(rows.Err())
}

// args puts the query options before the arguments of a statement.
func (b *Backend) args(args []any) []any { return append(slices.Clip(b.queryOptions), args...) }

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
