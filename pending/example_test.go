package pending_test

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

// Reboot is the payload of the examples: a question and its answer.
type Reboot struct {
	Reason string
	Uptime time.Duration // the answer
	User   string        `json:"-"` // stored, but not for clients to see
}

func newReboots() *pending.PendingStore[Reboot] {
	reboots, err := pending.New(memory.New(), codec.JSON[Reboot](), pending.Policy{
		Name:           "reboot",
		PendingTimeout: time.Minute,
		RunningTimeout: 5 * time.Minute,
		Retention:      10 * time.Minute,
		Exclusive:      true,
	})
	if err != nil {
		log.Fatal(err)
	}
	return reboots
}

// One request from its creation to its answer.
func Example() {
	ctx := context.Background()
	reboots := newReboots()

	asked, err := reboots.Create(ctx, "device-7", Reboot{Reason: "update", User: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("asked:", asked.Status)

	c, err := reboots.PopPending(ctx, "device-7")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("device-7 is to reboot for an", c.Payload.Reason)
	c.Payload.Uptime = 3 * time.Second
	if err := reboots.Complete(ctx, c); err != nil {
		log.Fatal(err)
	}

	answer, err := reboots.Get(ctx, asked.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("answered:", answer.Status, answer.Payload.Uptime, answer.Payload.User)
	// Output:
	// asked: pending
	// device-7 is to reboot for an update
	// answered: completed 3s ada
}

// An Exclusive store has one live request a mailbox and says which.
func ExampleBusyError() {
	ctx := context.Background()
	reboots := newReboots()
	first, err := reboots.Create(ctx, "device-7", Reboot{})
	if err != nil {
		log.Fatal(err)
	}

	_, err = reboots.Create(ctx, "device-7", Reboot{})
	var busy *pending.BusyError
	if errors.As(err, &busy) {
		fmt.Println("already asked:", busy.ID == first.ID)
	}
	// Output:
	// already asked: true
}

// A Create whose answer was lost is repeated with the key of the first.
func ExampleWithIdempotencyKey() {
	ctx := context.Background()
	reboots := newReboots()
	first, err := reboots.Create(ctx, "device-7", Reboot{}, pending.WithIdempotencyKey("order-4711"))
	if err != nil {
		log.Fatal(err)
	}
	again, err := reboots.Create(ctx, "device-7", Reboot{}, pending.WithIdempotencyKey("order-4711"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same request:", again.ID == first.ID)
	// Output:
	// the same request: true
}

// A poll whose answer was lost is repeated with its claim id, and gets the same request.
func ExampleWithClaimID() {
	ctx := context.Background()
	reboots := newReboots()
	if _, err := reboots.Create(ctx, "device-7", Reboot{}); err != nil {
		log.Fatal(err)
	}
	first, err := reboots.PopPending(ctx, "device-7", pending.WithClaimID("poll-1"))
	if err != nil {
		log.Fatal(err)
	}
	again, err := reboots.PopPending(ctx, "device-7", pending.WithClaimID("poll-1"))
	if err != nil {
		log.Fatal(err)
	}
	_, err = reboots.PopPending(ctx, "device-7", pending.WithClaimID("poll-2"))
	fmt.Println(again.ID == first.ID, errors.Is(err, pending.ErrNoPending))
	// Output:
	// true true
}

// A machine polls once for all of its stores.
func ExampleInbox() {
	ctx := context.Background()
	backend := memory.New()
	policy := pending.Policy{Name: "a", PendingTimeout: time.Minute, RunningTimeout: time.Minute, Retention: time.Minute}
	names, err := pending.New(backend, codec.JSON[string](), policy)
	if err != nil {
		log.Fatal(err)
	}
	policy.Name = "b"
	numbers, err := pending.New(backend, codec.Msgpack[int](), policy)
	if err != nil {
		log.Fatal(err)
	}
	inbox, err := pending.NewInbox(names, numbers)
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		if _, err := numbers.Create(ctx, "device-7", i); err != nil {
			log.Fatal(err)
		}
	}

	d, err := inbox.Pop(ctx, "device-7", pending.WithLimit(numbers, 10))
	if err != nil {
		log.Fatal(err)
	}
	none, err := pending.Claimed(d, names)
	if err != nil {
		log.Fatal(err)
	}
	three, err := pending.Claimed(d, numbers)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(none), len(three))
	// Output:
	// 0 3
}

// An API node takes the report of a device. The device has sent the id and the attempt of its
// claim. If another device has claimed the request since, Held refuses the report.
func ExamplePendingStore_Held() {
	ctx := context.Background()
	reboots := newReboots()
	report := func(id string, attempt int, uptime time.Duration) error {
		c, err := reboots.Held(ctx, id, attempt)
		if err != nil {
			return err
		}
		c.Payload.Uptime = uptime
		return reboots.Complete(ctx, c)
	}

	asked, err := reboots.Create(ctx, "device-7", Reboot{Reason: "update"})
	if err != nil {
		log.Fatal(err)
	}
	c, err := reboots.PopPending(ctx, "device-7")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("another attempt:", errors.Is(report(c.ID, 7, time.Hour), pending.ErrStaleClaim))
	fmt.Println("the report:", report(c.ID, c.Attempt, time.Second))
	fmt.Println("its retry:", report(c.ID, c.Attempt, time.Second))
	fmt.Println("another answer:", errors.Is(report(c.ID, c.Attempt, time.Hour), pending.ErrEnded))

	answer, err := reboots.Get(ctx, asked.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Status, answer.Payload.Uptime)
	// Output:
	// another attempt: true
	// the report: <nil>
	// its retry: <nil>
	// another answer: true
	// completed 1s
}
