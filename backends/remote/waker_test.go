package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// counter counts the polls of a client.
type counter struct {
	http.RoundTripper
	open, opened atomic.Int32
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/pending/watch" {
		c.opened.Add(1)
		c.open.Add(1)
		context.AfterFunc(r.Context(), func() { c.open.Add(-1) })
	}
	return c.RoundTripper.RoundTrip(r)
}

func newCounter(t *testing.T) *counter {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return &counter{RoundTripper: transport}
}

func TestManyWaitersShareFewPolls(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	polls := newCounter(t)
	waiting := clientWith(t, r.url, &remote.Options{Token: "w", Logger: quiet,
		HTTP: &http.Client{Transport: polls}})
	const n = 300
	var signals []<-chan struct{}
	var made []backends.Record
	for range n {
		rec := r.create()
		signal, stop := waiting.WatchRequest(t.Context(), rec.ID)
		defer stop()
		signals, made = append(signals, signal), append(made, rec)
	}
	r.until("few polls are left", func() bool { return polls.open.Load() <= 10 })
	for i, rec := range made {
		select {
		case <-signals[i]: // its poll was replaced
		default:
		}
		if _, err := r.client.End(t.Context(), completion("s", rec)); err != nil {
			t.Fatal(err)
		}
		r.signalled(signals[i])
	}
	t.Logf("%d waiters opened %d polls", n, polls.opened.Load())
}

// The last events of a replaced poll may go unread.
func TestAWaiterIsWokenWhenItsPollIsReplaced(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	signal, stop := r.client.WatchMailbox(t.Context(), box)
	defer stop()
	_, stopOther := r.client.WatchMailbox(t.Context(), "another")
	defer stopOther()
	r.signalled(signal)
}

func TestASecondWaiterOfATopicNeedsNoNewPoll(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	polls := newCounter(t)
	waiting := clientWith(t, r.url, &remote.Options{Token: "w", Logger: quiet,
		HTTP: &http.Client{Transport: polls}})
	for range 5 {
		signal, stop := waiting.WatchMailbox(t.Context(), box)
		r.create()
		r.signalled(signal)
		stop()
	}
	if got := polls.opened.Load(); got != 1 {
		t.Errorf("got %d polls, want 1", got)
	}
}

func TestWaitersFindAServerThatComesBack(t *testing.T) {
	b := memory.New()
	r := newRig(t, b, nil)
	var away atomic.Bool
	hung := make(chan context.CancelFunc, 100)
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if away.Load() {
			http.Error(w, "bad gateway", http.StatusBadGateway)
			return
		}
		ctx, cut := context.WithCancel(req.Context())
		hung <- cut
		r.server.ServeHTTP(w, req.WithContext(ctx))
	}))
	waiting := newClient(t, url, "w")
	signal, stop := waiting.WatchMailbox(t.Context(), box)
	defer stop()
	away.Store(true)
	(<-hung)() // cuts the poll
	r.until("the client has noticed", func() bool {
		return waiting.PollInterval() < 15*time.Second
	})
	r.create() // the client misses it
	away.Store(false)
	r.signalled(signal)
}

func TestABackendWithoutSignalsIsPolled(t *testing.T) {
	r := newRig(t, mute{memory.New()}, nil)
	signal, stop := r.client.WatchMailbox(t.Context(), box)
	defer stop()
	r.create()
	r.signalled(signal)
	_, err := r.client.List(t.Context(), "s", box, "", 100)
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("List: got %v, want ErrUnsupported", err)
	}
	_, err = r.client.Mailboxes(t.Context(), "s", "", 100)
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Mailboxes: got %v, want ErrUnsupported", err)
	}
}

// mute is a Backend without the optional interfaces.
type mute struct{ backends.Backend }

// backup is the payload of a Worker's store.
type backup struct {
	Folder string `json:"folder"`
	Done   string `json:"done"`
}

func newStore(t *testing.T, c *remote.Client, p pending.Policy) *pending.PendingStore[backup] {
	t.Helper()
	s, err := pending.New(c, codec.JSON[backup](), p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// graceful is a policy whose workers learn of a cancel.
func graceful() pending.Policy {
	p := policy("s")
	p.CancelGrace, p.MaxAttempts = time.Minute, 2
	return p
}

// newGracefulRig serves a store with a grace.
func newGracefulRig(t *testing.T) *rig {
	return newRig(t, newMemory(), func(c *remote.Config) {
		c.Stores = []pending.Policy{graceful()}
	})
}

// handler runs a claim of a Worker.
type handler func(context.Context, *pending.PendingStore[backup], *pending.Claim[backup]) error

// work runs a Worker with a handler until the test ends.
func work(t *testing.T, c *remote.Client, handle handler) {
	t.Helper()
	store := newStore(t, c, graceful())
	w, err := pending.NewWorker(box, &pending.WorkerOptions{Logger: quiet},
		pending.Handle(store, func(ctx context.Context, c *pending.Claim[backup]) error {
			return handle(ctx, store, c)
		}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAWorkerAnswersAFrontEnd(t *testing.T) {
	r := newGracefulRig(t)
	work(t, newClient(t, r.url, box), func(_ context.Context, _ *pending.PendingStore[backup],
		c *pending.Claim[backup]) error {
		c.Payload.Done = "all of " + c.Payload.Folder
		return nil
	})
	asking := newStore(t, r.client, graceful())
	for i := range 3 {
		made, err := asking.Create(t.Context(), box, backup{Folder: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := asking.Await(t.Context(), made.ID)
		if err != nil || got.Payload.Done != "all of "+made.Payload.Folder {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
}

func TestABusyWorkerLearnsOfACancelAtOnce(t *testing.T) {
	r := newGracefulRig(t)
	started := make(chan struct{})
	work(t, newClient(t, r.url, box), func(ctx context.Context, s *pending.PendingStore[backup],
		c *pending.Claim[backup]) error {
		c.Payload.Done = "half"
		if err := s.Progress(ctx, c); err != nil {
			return err
		}
		close(started)
		<-ctx.Done() // its lease lasts an hour, so nothing else than a wake-up tells it in time
		return context.Cause(ctx)
	})
	asking := newStore(t, r.client, graceful())
	made, err := asking.Create(t.Context(), box, backup{})
	if err != nil {
		t.Fatal(err)
	}
	<-started
	sawHalf := false
	for got, err := range asking.Watch(t.Context(), made.ID) {
		if err != nil {
			t.Fatal(err)
		}
		if got.Payload.Done == "half" && !got.Status.Ended() {
			sawHalf = true
			if err := asking.Cancel(t.Context(), made, "no longer needed"); err != nil {
				t.Fatal(err)
			}
		}
		made.Status, made.Error = got.Status, got.Error
	}
	if !sawHalf || made.Status != pending.StatusCancelled || made.Error != "no longer needed" {
		t.Errorf("progress seen: %v; ended as %s, %q", sawHalf, made.Status, made.Error)
	}
}

func TestAWorkerHearsOfACancelThatCameBeforeItsWatch(t *testing.T) {
	r := newGracefulRig(t)
	rec := r.running()
	if _, err := r.client.Cancel(t.Context(), backends.Cancel{Terms: terms("s"), ID: rec.ID,
		Outcome: backends.StatusCancelled, Error: "no longer needed"}); err != nil {
		t.Fatal(err)
	}
	signal, stop := newClient(t, r.url, "device").WatchRequest(t.Context(), rec.ID)
	defer stop()
	r.signalled(signal)
}
