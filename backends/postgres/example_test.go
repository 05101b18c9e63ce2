package postgres_test

import (
	"context"
	"log"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends/postgres"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// Shipment is a request to a warehouse.
type Shipment struct{ Order string }

// An order and the request to ship it are stored together, or not at all.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	pool, err := pgxpool.New(ctx, "postgres://localhost/shop")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	if err := postgres.Migrate(ctx, pool, nil); err != nil {
		log.Fatal(err)
	}
	backend, err := postgres.New(pool, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()
	shipments, err := pending.New(backend, codec.JSON[Shipment](), pending.Policy{Name: "shipments",
		PendingTimeout: time.Hour, RunningTimeout: time.Minute, Retention: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", "o-1"); err != nil {
			return err
		}
		_, err := shipments.Create(postgres.InTx(ctx, tx), "warehouse-7", Shipment{Order: "o-1"})
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}
