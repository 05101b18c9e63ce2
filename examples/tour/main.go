// Tour is the five-minute tour of the README: a store of your own, from the question to the answer.
//
//	go run ./examples/tour
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// Reboot is a question to a device, and its answer.
type Reboot struct {
	Reason  string        `json:"reason"`
	Uptime  time.Duration `json:"uptime"` // the answer
	AskedBy string        `json:"-"`      // stored, but never sent to clients
}

func main() {
	ctx := context.Background()

	// One store a kind of request. Every API node makes its own over the same backend.
	reboots, err := pending.New(memory.New(), codec.Msgpack[Reboot](), pending.Policy{
		Name:           "reboot",
		PendingTimeout: time.Minute,      // unclaimed for longer: timeout
		RunningTimeout: 5 * time.Minute,  // claimed and silent for longer: timeout
		Retention:      10 * time.Minute, // how long an answer can be read
		Exclusive:      true,             // one live request a device
	})
	check(err)

	// The front end asks, at any node. Repeating a Create whose answer was lost is safe with a key.
	asked, err := reboots.Create(ctx, "device-7", Reboot{Reason: "update", AskedBy: "ada"},
		pending.WithIdempotencyKey("order-4711"))
	check(err)

	// Another request while this one is live is refused, and says which is.
	_, err = reboots.Create(ctx, "device-7", Reboot{})
	if busy := new(pending.BusyError); errors.As(err, &busy) {
		fmt.Println("already asked:", busy.ID == asked.ID)
	}

	// The device's poll, at any node, claims it. AwaitPending would wait for one.
	work, err := reboots.PopPending(ctx, "device-7")
	check(err)
	fmt.Printf("device-7 is asked by %s to reboot: %s\n", work.Payload.AskedBy, work.Payload.Reason)

	// Its report, at any node, carries the id and the attempt of the claim. The node loads the
	// claim, sets the answer and completes it. Held refuses the report of an earlier attempt.
	claim, err := reboots.Held(ctx, work.ID, work.Attempt)
	check(err)
	claim.Payload.Uptime = 3 * time.Second
	check(reboots.Complete(ctx, claim))

	// The same report again is fine; any other is refused.
	check(reboots.Complete(ctx, claim))
	fmt.Println("too late:", errors.Is(reboots.Fail(ctx, claim, "no power"), pending.ErrEnded))

	// The front end reads the answer, at any node. Await would have waited for it.
	answer, err := reboots.Get(ctx, asked.ID)
	check(err)
	fmt.Println(answer.Status, answer.Payload.Uptime)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
