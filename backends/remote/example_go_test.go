package remote_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// ownMailbox lets the caller with token "TOKEN-NAME" work and ask in the mailbox NAME.
type ownMailbox struct{}

func (ownMailbox) Caller(r *http.Request) (string, error) {
	name, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer TOKEN-")
	return name, nil
}

func (ownMailbox) Allow(_ *http.Request, caller string, _ remote.Action, _, mailbox string) (
	bool, error) {
	return caller == mailbox, nil
}

// An API node serves a backend. A device uses it over HTTP, with a Worker.
func Example() {
	policy := pending.Policy{Name: "greeting", PendingTimeout: time.Minute,
		RunningTimeout: time.Minute, Retention: time.Minute}
	backend := memory.New() // a node has Redis or PostgreSQL here
	handler, err := remote.Handler(backend,
		remote.Config{Stores: []pending.Policy{policy}, Access: ownMailbox{}})
	if err != nil {
		panic(err)
	}
	node := httptest.NewServer(handler)
	defer node.Close()
	defer handler.Drain() // answers who waits

	device, err := remote.New(node.URL, &remote.Options{Token: "TOKEN-device-7"})
	if err != nil {
		panic(err)
	}
	defer device.Close()
	greetings, err := pending.New(device, codec.JSON[string](), policy)
	if err != nil {
		panic(err)
	}
	worker, err := pending.NewWorker("device-7", nil, pending.Handle(greetings,
		func(_ context.Context, c *pending.Claim[string]) error {
			c.Payload += ", world"
			return nil
		}))
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- worker.Run(ctx) }()

	// The node itself asks, or another front end over HTTP.
	atNode, err := pending.New(backend, codec.JSON[string](), policy)
	if err != nil {
		panic(err)
	}
	asked, err := atNode.Create(ctx, "device-7", "hello")
	if err != nil {
		panic(err)
	}
	answer, err := atNode.Await(ctx, asked.ID)
	if err != nil {
		panic(err)
	}
	fmt.Println(answer.Status, answer.Payload)
	stop()
	fmt.Println(<-stopped)
	// Output:
	// completed hello, world
	// <nil>
}
