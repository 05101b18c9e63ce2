// Tour is the five-minute tour of the README: a store of your own, a worker and a requester, with
// progress and a cancel.
//
//	go run ./examples/tour
package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// Backup is a question to a device, and its answer.
type Backup struct {
	Volume  string
	Percent int // the answer, and progress on the way
}

func main() {
	ctx, shutDown := context.WithCancel(context.Background())

	// One store for each kind of request. Every node makes its own over the same backend.
	backups, err := pending.New(memory.New(), codec.Msgpack[Backup](), pending.Policy{
		Name:           "backup",
		PendingTimeout: time.Minute,      // unclaimed for longer: timeout
		RunningTimeout: 5 * time.Minute,  // claimed and silent for longer: timeout
		Retention:      10 * time.Minute, // how long an answer can be read
		CancelGrace:    10 * time.Second, // how long a worker may go on after a cancel
	})
	check(err)

	// The worker: a device that polls. What the handler returns ends the request.
	device, err := pending.NewWorker("device-7", nil, pending.Handle(backups,
		func(ctx context.Context, c *pending.Claim[Backup]) error {
			if c.Payload.Volume == "archive" { // takes all day
				c.Payload.Percent = 40
				if err := backups.Progress(ctx, c); err != nil {
					return err
				}
				<-ctx.Done() // until the requester cancels
				return context.Cause(ctx)
			}
			c.Payload.Percent = 100
			return nil
		}))
	check(err)
	var running sync.WaitGroup
	running.Go(func() { check(device.Run(ctx)) })

	ask(ctx, backups)

	shutDown()
	running.Wait()
}

// ask is the requester: a front end, at any node.
func ask(ctx context.Context, backups *pending.PendingStore[Backup]) {
	// With a key a Create can be repeated, until the Retention of its request has passed.
	asked, err := backups.Create(ctx, "device-7", Backup{Volume: "home"},
		pending.WithIdempotencyKey("order-4711"))
	check(err)
	answer, err := backups.Await(ctx, asked.ID)
	check(err)
	fmt.Println(answer.Payload.Volume, answer.Status, answer.Payload.Percent)

	// It watches another request, and cancels it when it sees progress.
	asked, err = backups.Create(ctx, "device-7", Backup{Volume: "archive"})
	check(err)
	for r, err := range backups.Watch(ctx, asked.ID) {
		check(err)
		if r.Status.Ended() {
			fmt.Println(r.Payload.Volume, r.Status, r.Payload.Percent, r.Error)
		} else if r.Payload.Percent == 40 {
			check(backups.Cancel(ctx, r, "enough for today")) // again: changes nothing
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
