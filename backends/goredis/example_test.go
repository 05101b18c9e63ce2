package goredis_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// Two nodes share a server. One asks, the other one claims.
func Example() {
	server := miniredis.NewMiniRedis() // a program has a Redis server
	must(server.Start())
	defer server.Close()
	policy := pending.Policy{Name: "greeting", PendingTimeout: time.Minute,
		RunningTimeout: time.Minute, Retention: time.Minute}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var nodes [2]*pending.PendingStore[string]
	for i := range nodes {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
		defer client.Close()
		backend, err := goredis.New(client, nil)
		must(err)
		defer backend.Close()
		must(backend.Check(ctx)) // may this user run all commands?
		nodes[i], err = pending.New(backend, codec.JSON[string](), policy)
		must(err)
	}

	asked, err := nodes[0].Create(ctx, "device-7", "hello")
	must(err)
	claim, err := nodes[1].AwaitPending(ctx, "device-7")
	must(err)
	claim.Payload += ", world"
	must(nodes[1].Complete(ctx, claim))
	answer, err := nodes[0].Await(ctx, asked.ID)
	must(err)
	fmt.Println(answer.Status, answer.Payload)
	// Output: completed hello, world
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
