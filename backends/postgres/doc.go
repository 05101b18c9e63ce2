// Package postgres keeps pending requests in PostgreSQL 12 or later, through pgx v5. All nodes that
// use the same database and schema see the same requests.
package postgres
