package pending_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// Reboot is the payload of the examples: a question and its answer.
type Reboot struct {
	Reason string
	Uptime time.Duration // the answer
	User   string        `json:"-"` // stored, but hidden from clients
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

// A request is created, claimed, completed and read.
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

// An Exclusive store allows each mailbox one live request. The error has the id of that request.
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

// The reply to a Create was lost. A retry with the same key returns the same request.
func ExampleWithIdempotencyKey() {
	ctx := context.Background()
	reboots := newReboots()
	key := pending.WithIdempotencyKey("order-4711")
	first, err := reboots.Create(ctx, "device-7", Reboot{}, key)
	if err != nil {
		log.Fatal(err)
	}
	again, err := reboots.Create(ctx, "device-7", Reboot{}, key)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same request:", again.ID == first.ID)
	// Output:
	// the same request: true
}

// The reply to a poll was lost. A retry with the same claim id returns the same request.
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

// A worker runs a handler for each request of its mailbox.
func ExampleWorker() {
	ctx, cancel := context.WithCancel(context.Background())
	reboots := newReboots()
	worker, err := pending.NewWorker("device-7", nil, pending.Handle(reboots,
		func(_ context.Context, c *pending.Claim[Reboot]) error {
			c.Payload.Uptime = 3 * time.Second
			return nil // completes the request
		}))
	if err != nil {
		log.Fatal(err)
	}
	stopped := make(chan error)
	go func() { stopped <- worker.Run(ctx) }()

	asked, err := reboots.Create(ctx, "device-7", Reboot{Reason: "update"})
	if err != nil {
		log.Fatal(err)
	}
	answer, err := reboots.Await(ctx, asked.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Status, answer.Payload.Uptime)
	cancel()
	fmt.Println("stopped:", <-stopped)
	// Output:
	// completed 3s
	// stopped: <nil>
}

// A requester cancels what it no longer needs.
func ExamplePendingStore_Cancel() {
	ctx := context.Background()
	reboots := newReboots()
	asked, err := reboots.Create(ctx, "device-7", Reboot{Reason: "update"})
	if err != nil {
		log.Fatal(err)
	}
	if err := reboots.Cancel(ctx, asked, "the update was withdrawn"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(asked.Status, "because", asked.Error)
	_, err = reboots.PopPending(ctx, "device-7")
	fmt.Println("nothing to do:", errors.Is(err, pending.ErrNoPending))
	// Output:
	// cancelled because the update was withdrawn
	// nothing to do: true
}

// A requester watches a request until it has ended. The worker stores its progress.
func ExamplePendingStore_Watch() {
	ctx := context.Background()
	reboots := newReboots()
	asked, err := reboots.Create(ctx, "device-7", Reboot{Reason: "update"})
	if err != nil {
		log.Fatal(err)
	}
	c, err := reboots.PopPending(ctx, "device-7")
	if err != nil {
		log.Fatal(err)
	}
	for r, err := range reboots.Watch(ctx, asked.ID) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Status, r.Payload.Uptime)
		switch r.Payload.Uptime { // the worker goes on
		case 0:
			c.Payload.Uptime = time.Second
			err = reboots.Progress(ctx, c)
		case time.Second:
			c.Payload.Uptime = time.Minute
			err = reboots.Complete(ctx, c)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// running 0s
	// running 1s
	// completed 1m0s
}

// streamEvents answers with the changes of a request as server-sent events. A real handler first
// decides whether the caller may read the request.
func streamEvents(reboots *pending.PendingStore[Reboot], w http.ResponseWriter, r *http.Request) {
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	changes := make(chan *pending.Request[Reboot])
	go func() {
		defer close(changes)
		for change, err := range reboots.Watch(ctx, r.PathValue("id")) {
			if err != nil {
				return // the stream ends, and an EventSource connects again
			}
			select {
			case changes <- change:
			case <-ctx.Done():
			}
		}
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	keepAlive := time.NewTicker(15 * time.Second) // so that no proxy cuts the stream off
	defer keepAlive.Stop()
	for {
		select {
		case change, more := <-changes:
			if !more {
				return
			}
			data, _ := json.Marshal(change.Payload) // has no line breaks
			fmt.Fprintf(w, "event: %s\ndata: %s\n\n", change.Status, data)
		case <-keepAlive.C:
			fmt.Fprint(w, ":\n\n") // a comment
		}
		if http.NewResponseController(w).Flush() != nil {
			return // the client has gone
		}
	}
}

// A browser follows a request by an EventSource. It closes the EventSource when the request ends.
func ExamplePendingStore_Watch_serverSentEvents() {
	ctx := context.Background()
	reboots := newReboots()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /reboots/{id}/events", func(w http.ResponseWriter, r *http.Request) {
		streamEvents(reboots, w, r)
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	asked, err := reboots.Create(ctx, "device-7", Reboot{Reason: "update"})
	if err != nil {
		log.Fatal(err)
	}
	c, err := reboots.PopPending(ctx, "device-7")
	if err != nil {
		log.Fatal(err)
	}
	resp, err := server.Client().Get(server.URL + "/reboots/" + asked.ID + "/events")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		fmt.Println(lines.Text())
		if lines.Text() == "event: running" { // the worker goes on
			c.Payload.Uptime = time.Second
			if err := reboots.Complete(ctx, c); err != nil {
				log.Fatal(err)
			}
		}
	}
	// Output:
	// event: running
	// data: {"Reason":"update","Uptime":0}
	//
	// event: completed
	// data: {"Reason":"update","Uptime":1000000000}
}

// A machine claims from all of its stores in one poll.
func ExampleInbox() {
	ctx := context.Background()
	backend := memory.New()
	policy := pending.Policy{
		Name:           "a",
		PendingTimeout: time.Minute,
		RunningTimeout: time.Minute,
		Retention:      time.Minute,
	}
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
