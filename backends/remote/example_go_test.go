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

// ownMailbox lets the caller with the token "TOKEN-NAME" do everything in the mailbox NAME.
type ownMailbox struct{}

func (ownMailbox) Caller(r *http.Request) (string, error) {
	name, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer TOKEN-")
	return name, nil
}

func (ownMailbox) Allow(_ *http.Request, caller string, _ remote.Action, _, mailbox string) (
	bool, error) {
	return caller == mailbox, nil
}

var greeting = pending.Policy{Name: "greeting", PendingTimeout: time.Minute,
	RunningTimeout: time.Minute, Retention: time.Minute}

// newGreeter makes the worker of a device.
func newGreeter(device *remote.Client) (*pending.Worker, error) {
	greetings, err := pending.New(device, codec.JSON[string](), greeting)
	if err != nil {
		return nil, err
	}
	greet := func(_ context.Context, c *pending.Claim[string]) error {
		c.Payload += ", world"
		return nil
	}
	return pending.NewWorker("device-7", nil, pending.Handle(greetings, greet))
}

// An API node serves a backend. A device uses it over HTTP, with a Worker.
func Example() {
	backend := memory.New() // a node uses Redis or PostgreSQL
	handler, err := remote.Handler(backend,
		remote.Config{Stores: []pending.Policy{greeting}, Access: ownMailbox{}})
	if err != nil {
		panic(err)
	}
	node := httptest.NewServer(handler)
	defer node.Close()
	defer handler.Drain() // answers all waiters

	device, err := remote.New(node.URL, &remote.Options{Token: "TOKEN-device-7"})
	if err != nil {
		panic(err)
	}
	defer device.Close()
	worker, err := newGreeter(device)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- worker.Run(ctx) }()

	// The requester is the node itself here. It could also be another client over HTTP.
	atNode, err := pending.New(backend, codec.JSON[string](), greeting)
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
