package main

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/internal/postgrestest"
)

func TestRiverStoresTheSameSizesAndCompletesARound(t *testing.T) {
	server := postgrestest.Start(t)
	pool, err := pgxpool.New(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	const callers, jobs = 2, 5
	q, err := newQueue(t.Context(), pool, callers)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.run(t.Context(), callers, jobs); err != nil {
		t.Fatal(err)
	}
	var completed, question, answer int
	err = pool.QueryRow(t.Context(), `SELECT count(*), max(length(args->>'asked')),
		max(length(metadata->>'output')) FROM river_job WHERE state = 'completed'`).
		Scan(&completed, &question, &answer)
	if err != nil {
		t.Fatal(err)
	}
	if completed != jobs || question != len(asked) || answer != len(answered) {
		t.Errorf("got %d completed jobs, a question of %d bytes and an answer of %d; "+
			"want %d, %d and %d", completed, question, answer, jobs, len(asked), len(answered))
	}
	if err := q.close(t.Context()); err != nil {
		t.Error(err)
	}
}
