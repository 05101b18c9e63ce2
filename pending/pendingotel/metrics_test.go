package pendingotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/pendingotel"
)

// counts renders each point of a metric as a line: its attributes without the store, and its value.
// The value of a histogram is its count. For the times of requests the sum follows.
func (n *node) counts(name string) []string {
	var lines []string
	add := func(set attribute.Set, value string) {
		var words []string
		for _, kv := range set.ToSlice() {
			if kv.Key == "pendingq.store" && kv.Value.AsString() != "jobs" {
				n.t.Errorf("%s has store %q", name, kv.Value.AsString())
			} else if kv.Key != "pendingq.store" {
				words = append(words, kv.Value.String())
			}
		}
		lines = append(lines, strings.Join(append(words, value), " "))
	}
	switch data := n.collected()[name].Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, fmt.Sprint(p.Value))
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			value := fmt.Sprint(p.Count)
			if strings.HasPrefix(name, "pendingq.request.") {
				value = fmt.Sprintf("%d of %vs", p.Count, p.Sum)
			}
			add(p.Attributes, value)
		}
	}
	slices.Sort(lines)
	return lines
}

func (n *node) check(name string, want ...string) {
	n.t.Helper()
	if diff := cmp.Diff(n.counts(name), want); diff != "" {
		n.t.Errorf("%s: got - want +\n%s", name, diff)
	}
}

// onFakeTime runs a test with a node over memory, whose clock is the bubble's.
func onFakeTime(t *testing.T, test func(n *node)) {
	synctest.Test(t, func(t *testing.T) { test(memoryNode(t)) })
}

func TestALifecycleIsCountedWithItsTimes(t *testing.T) {
	onFakeTime(t, func(n *node) {
		n.create()
		<-time.After(3 * time.Second)
		c := n.pop()
		<-time.After(5 * time.Second)
		n.must(n.store.Progress(t.Context(), c))
		n.must(n.store.Extend(t.Context(), c))
		<-time.After(6 * time.Second)
		n.must(n.store.Complete(t.Context(), c))

		n.check("pendingq.request.created", "1")
		n.check("pendingq.request.claimed", "first 1")
		n.check("pendingq.request.wait.duration", "1 of 3s")
		n.check("pendingq.request.run.duration", "completed 1 of 11s")
		n.check("pendingq.request.ended", "completed 1")
		n.check("pendingq.operation.duration", "claim 1", "create 1", "end 1", "extend 1",
			"progress 1")
		n.check("pendingq.claim.empty")
		n.check("pendingq.request.expired")
	})
}

func TestARepeatCountsAnOperationAndNoRequest(t *testing.T) {
	onFakeTime(t, func(n *node) {
		var c *pending.Claim[job]
		for range 2 {
			n.create(pending.WithIdempotencyKey("once"))
			<-time.After(time.Second)
			c = n.pop(pending.WithClaimID("the same"))
			<-time.After(time.Second)
		}
		for range 2 {
			n.must(n.store.Complete(t.Context(), c))
			<-time.After(time.Second)
		}
		n.create(pending.WithIdempotencyKey("once"))

		n.check("pendingq.request.created", "1")
		n.check("pendingq.request.claimed", "first 1")
		n.check("pendingq.request.ended", "completed 1")
		n.check("pendingq.request.wait.duration", "1 of 1s")
		n.check("pendingq.operation.duration", "claim 2", "create 3", "end 1", "ended end 1")
	})
}

func TestACancelIsCountedWhenItEndsTheRequest(t *testing.T) {
	onFakeTime(t, func(n *node) {
		pendingOne := n.create()
		n.must(n.store.Cancel(t.Context(), pendingOne, "waiting"))
		running := n.create()
		c := n.pop()
		n.must(n.store.Cancel(t.Context(), running, "running")) // the request goes on: CancelGrace
		n.check("pendingq.request.ended", "cancelled 1")
		n.must(n.store.Extend(t.Context(), c))
		n.must(n.store.Finish(t.Context(), c, pending.StatusCancelled))
		n.check("pendingq.request.ended", "cancelled 2")
		n.must(n.store.Timeout(t.Context(), n.create()))
		n.check("pendingq.request.ended", "cancelled 2", "timeout 1")
	})
}

func TestATimeoutIsCountedOnceWhenItIsRead(t *testing.T) {
	onFakeTime(t, func(n *node) {
		unclaimed := n.create()
		<-time.After(61 * time.Second)
		n.check("pendingq.request.expired") // nobody has read the request
		for range 3 {
			_, err := n.store.Get(t.Context(), unclaimed.ID)
			n.must(err)
		}
		n.check("pendingq.request.expired", "none timeout 1")

		cancelled := n.create()
		n.pop()
		n.must(n.store.Cancel(t.Context(), cancelled, "stop"))
		<-time.After(61 * time.Second) // the grace
		if err := n.store.Timeout(t.Context(), cancelled); !errors.Is(err, pending.ErrEnded) {
			t.Errorf("a timeout after the grace: %v", err)
		}
		n.check("pendingq.request.expired", "first cancelled 1", "none timeout 1")
		n.check("pendingq.request.ended")

		n.create()
		late := n.pop()
		<-time.After(5 * time.Minute)
		if err := n.store.Extend(t.Context(), late); !errors.Is(err, pending.ErrEnded) {
			t.Errorf("a late extension: %v", err)
		}
		n.check("pendingq.request.expired", "first cancelled 1", "first timeout 1",
			"none timeout 1")
	})
}

func TestEachRequestWithAKeyIsCountedWhenItExpires(t *testing.T) {
	onFakeTime(t, func(n *node) {
		for range 2 {
			r := n.create(pending.WithIdempotencyKey("nightly"))
			<-time.After(61 * time.Second)
			_, err := n.store.Get(t.Context(), r.ID)
			n.must(err)
			<-time.After(time.Hour) // the retention
		}
		n.check("pendingq.request.created", "2")
		n.check("pendingq.request.expired", "none timeout 2")
	})
}

// odd is a backend whose clock was set back between the calls, or a server with a fault.
type odd struct{ backends.Backend }

// A request that was claimed a second before its create, and ended a second before its claim.
var oddRecord = backends.Record{Status: backends.StatusCompleted, Attempt: -1,
	Headers:   map[string]string{"traceparent": sampledParent},
	CreatedAt: time.Unix(1e9+2, 0), StartedAt: time.Unix(1e9+1, 0), UpdatedAt: time.Unix(1e9, 0)}

func (odd) End(context.Context, backends.End) (backends.Record, error) { return oddRecord, nil }

func (odd) Get(context.Context, string, string) (backends.Record, error) {
	rec := oddRecord
	rec.ReadAt = rec.CreatedAt
	return rec, nil
}

func (odd) Claim(context.Context, backends.Claim) ([]backends.Claimed, error) {
	first, unknown := oddRecord, oddRecord
	first.ReadAt, unknown.ReadAt, first.Attempt = first.StartedAt, unknown.StartedAt, 1
	return []backends.Claimed{{Records: []backends.Record{first, unknown}}}, nil
}

func TestOddRecordsDoNoHarm(t *testing.T) {
	n := newNode(t, odd{}, trace.AlwaysSample())
	_, err := n.backend.Claim(t.Context(),
		backends.Claim{From: []backends.From{{Terms: backends.Terms{Store: "jobs"}}}})
	n.must(err)
	_, err = n.backend.End(t.Context(), backends.End{Terms: backends.Terms{Store: "jobs"}})
	n.must(err)
	_, err = n.backend.Get(t.Context(), "jobs", "id")
	n.must(err)
	n.check("pendingq.request.claimed", "first 1", "none 1")
	n.check("pendingq.request.wait.duration", "1 of 0s")
	n.check("pendingq.request.run.duration", "completed 1 of 0s")
	n.check("pendingq.request.expired", "none completed 1")
	for _, span := range n.spans.GetSpans() {
		if span.EndTime.Before(span.StartTime) {
			t.Errorf("%s ends before it starts", span.Name)
		}
	}
}

func TestBackendsWithOneProviderAddUp(t *testing.T) {
	n := &node{t: t, reader: metric.NewManualReader()}
	meter := metric.NewMeterProvider(metric.WithReader(n.reader))
	for range 2 {
		var err error
		n.backend, err = pendingotel.Instrument(memory.New(),
			&pendingotel.Options{MeterProvider: meter})
		n.must(err)
		n.store = n.newStore(policy())
		n.create()
		n.must(n.store.Finish(t.Context(), n.pop(), "conflict"))
	}
	for range 2 { // a scrape does not reset a count
		n.check("pendingq.request.created", "2")
		n.check("pendingq.request.ended", "conflict 2")
	}
}

func TestASecondClaimShowsTheLostLease(t *testing.T) {
	onFakeTime(t, func(n *node) {
		n.create()
		first := n.pop()
		<-time.After(121 * time.Second) // the lease
		second := n.pop()
		if err := n.store.Complete(t.Context(), first); !errors.Is(err, pending.ErrStaleClaim) {
			t.Errorf("a late report: %v", err)
		}
		n.must(n.store.Complete(t.Context(), second))
		n.create()
		n.must(n.store.Release(t.Context(), n.pop(), 0))
		n.pop()

		n.check("pendingq.request.claimed", "again 2", "first 2")
		n.check("pendingq.operation.duration", "claim 4", "create 2", "end 1", "release 1",
			"stale_claim end 1")
	})
}

func TestClaimsThatFindNothingAreCountedForEachStore(t *testing.T) {
	n := memoryNode(t)
	other := policy()
	other.Name = "others"
	in, err := pending.NewInbox(n.store, n.newStore(other))
	n.must(err)
	for range 2 {
		if _, err := in.Pop(t.Context(), box); !errors.Is(err, pending.ErrNoPending) {
			t.Errorf("pop: %v", err)
		}
	}
	_, err = in.PopMany(t.Context(), []string{"a", "b", "c"})
	if !errors.Is(err, pending.ErrNoPending) {
		t.Errorf("pop many: %v", err)
	}
	want := map[string]int64{"jobs": 5, "others": 5}
	if diff := cmp.Diff(n.byStore("pendingq.claim.empty"), want); diff != "" {
		t.Errorf("empty claims: got - want +\n%s", diff)
	}
}

// byStore adds up the values of a counter for each store.
func (n *node) byStore(name string) map[string]int64 {
	sums := map[string]int64{}
	data, _ := n.collected()[name].Data.(metricdata.Sum[int64])
	for _, p := range data.DataPoints {
		store, _ := p.Attributes.Value("pendingq.store")
		sums[store.AsString()] += p.Value
	}
	return sums
}

func TestOptionalInterfacesSurviveAndAreMeasured(t *testing.T) {
	n := newNode(t, many{memory.New()}, nil)
	n.create()
	_, err := n.store.List(t.Context(), box, pending.ListOptions{})
	n.must(err)
	lister, ok := backends.As[backends.Lister](n.backend)
	if !ok {
		t.Fatal("the Lister is lost")
	}
	_, err = lister.Mailboxes(t.Context(), "jobs", "", 10)
	n.must(err)
	in, err := pending.NewInbox(n.store)
	n.must(err)
	_, err = in.PopMany(t.Context(), []string{box, "another"})
	n.must(err)
	n.check("pendingq.operation.duration", "claim_many 1", "create 1", "list 1", "mailboxes 1")
	n.check("pendingq.request.claimed", "first 1")
	n.check("pendingq.claim.empty", "1")

	waker, ok := backends.As[backends.Waker](n.backend)
	if !ok {
		t.Fatal("the Waker is lost")
	}
	_, stop := waker.WatchMailbox(t.Context(), box)
	_, stopToo := waker.WatchRequest(t.Context(), backends.NewID(box))
	n.check("pendingq.watch.active", "mailbox 1", "request 1")
	stop()
	stopToo()
	n.check("pendingq.watch.active", "mailbox 0", "request 0")
}

// many is the memory backend with a ClaimMany.
type many struct{ *memory.Backend }

func (b many) ClaimMany(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	results := make([]backends.ClaimResult, len(claims))
	for i, c := range claims {
		results[i].Claimed, results[i].Err = b.Claim(ctx, c)
	}
	return results
}

func TestABackendWithoutOptionalInterfacesGetsNone(t *testing.T) {
	n := newNode(t, struct{ backends.Backend }{memory.New()}, nil)
	_, lists := backends.As[backends.Lister](n.backend)
	_, wakes := backends.As[backends.Waker](n.backend)
	_, claims := backends.As[backends.ManyClaimer](n.backend)
	if lists || wakes || claims {
		t.Errorf("Lister %t, Waker %t, ManyClaimer %t, want none", lists, wakes, claims)
	}
}

// broken is a backend whose HasPending and Get fail with err.
type broken struct {
	backends.Backend
	err error
}

func (b broken) HasPending(context.Context, string, string) (bool, error) { return false, b.err }
func (b broken) Get(context.Context, string, string) (backends.Record, error) {
	return backends.Record{}, b.err
}

func TestErrorsHaveAClass(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "has_pending 1"},
		{backends.ErrNotFound, "not_found has_pending 1"},
		{&backends.EndedError{}, "ended has_pending 1"},
		{backends.ErrStaleClaim, "stale_claim has_pending 1"},
		{&backends.BusyError{}, "busy has_pending 1"},
		{backends.ErrFull, "full has_pending 1"},
		{&backends.CorruptError{}, "corrupt_record has_pending 1"},
		{fmt.Errorf("list: %w", pending.ErrInvalid), "invalid has_pending 1"},
		{pending.ErrTooLarge, "too_large has_pending 1"},
		{errors.ErrUnsupported, "unsupported has_pending 1"},
		{remote.ErrUnauthorized, "unauthorized has_pending 1"},
		{remote.ErrForbidden, "forbidden has_pending 1"},
		{remote.ErrTooMany, "too_many has_pending 1"},
		{context.Canceled, "canceled has_pending 1"},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), "deadline_exceeded has_pending 1"},
		{errors.New("connection refused"), "_OTHER has_pending 1"},
	} {
		n := newNode(t, broken{memory.New(), c.err}, nil)
		_, _ = n.store.HasPending(t.Context(), box)
		n.check("pendingq.operation.duration", c.want)
	}
}

func TestANilBackendIsAnError(t *testing.T) {
	for _, b := range []backends.Backend{nil, (*memory.Backend)(nil)} {
		if _, err := pendingotel.Instrument(b, nil); err == nil {
			t.Errorf("%T: no error", b)
		}
	}
}

func TestTheGlobalProvidersAreTheDefault(t *testing.T) {
	b, err := pendingotel.Instrument(memory.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.HasPending(t.Context(), "jobs", box); err != nil {
		t.Error(err)
	}
}
