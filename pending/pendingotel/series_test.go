package pendingotel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
)

func TestNamesAndUnitsArePinned(t *testing.T) {
	n := memoryNode(t)
	everything(t, n)
	got := map[string]string{}
	for name, m := range n.collected() {
		got[name] = m.Unit
	}
	want := map[string]string{
		"pendingq.operation.duration":    "s",
		"pendingq.request.created":       "{request}",
		"pendingq.request.claimed":       "{request}",
		"pendingq.request.ended":         "{request}",
		"pendingq.request.expired":       "{request}",
		"pendingq.request.wait.duration": "s",
		"pendingq.request.run.duration":  "s",
		"pendingq.claim.empty":           "{claim}",
		"pendingq.watch.active":          "{watch}",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("metrics: got - want +\n%s", diff)
	}
}

func TestNoAttributeNamesAMailboxOrAnID(t *testing.T) {
	n := memoryNode(t)
	everything(t, n)
	keys := map[string]bool{}
	note := func(set attribute.Set) {
		for _, kv := range set.ToSlice() {
			keys[string(kv.Key)] = true
			if strings.Contains(kv.Value.String(), box) {
				t.Errorf("%s is %q", kv.Key, kv.Value.String())
			}
		}
	}
	for _, m := range n.collected() {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				note(p.Attributes)
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				note(p.Attributes)
			}
		}
	}
	want := []string{"error.type", "pendingq.attempt", "pendingq.operation", "pendingq.outcome",
		"pendingq.store", "pendingq.watch.target"}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(keys)), want); diff != "" {
		t.Errorf("attributes: got - want +\n%s", diff)
	}
}

// everything makes a node report each of its metrics.
func everything(t *testing.T, n *node) {
	ctx, p := t.Context(), policy()
	p.PendingTimeout = time.Millisecond
	expired := n.newStore(p)
	r, err := expired.Create(ctx, box, job{})
	n.must(err)
	for r.Status != pending.StatusTimeout {
		r, err = expired.Await(ctx, r.ID)
		n.must(err)
	}
	n.create()
	n.must(n.store.Complete(ctx, n.pop()))
	if _, err := n.store.PopPending(ctx, box); !errors.Is(err, pending.ErrNoPending) {
		t.Errorf("pop: %v", err)
	}
	if _, err := n.store.Get(ctx, backends.NewID(box)); !errors.Is(err, pending.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
}

// Stores above the limit share their metrics. Their spans have their own names.
func TestStoresAboveTheLimitShareTheirMetrics(t *testing.T) {
	n := newNode(t, memory.New(), trace.AlwaysSample())
	for i := range 200 {
		_, err := n.backend.HasPending(t.Context(), fmt.Sprint("store-", i), box)
		n.must(err)
	}
	if got, want := len(n.durations().DataPoints), 101; got != want {
		t.Errorf("%d series, want %d", got, want)
	}
	n.create()
	n.must(n.store.Complete(t.Context(), n.pop()))
	var names []string
	for _, span := range n.spans.GetSpans() {
		names = append(names, span.Name)
	}
	want := []string{"create jobs", "claim jobs", "process jobs", "end jobs"}
	if !slices.Equal(names, want) {
		t.Errorf("the spans are %q, want %q", names, want)
	}
}

// durations collects the durations of operations.
func (n *node) durations() metricdata.Histogram[float64] {
	data, _ := n.collected()["pendingq.operation.duration"].Data.(metricdata.Histogram[float64])
	return data
}

// Values are gathered before they are recorded. None is lost or recorded twice. A scrape has the
// value of each operation that returned before the scrape began.
func TestEachDurationIsRecordedOnce(t *testing.T) {
	n := memoryNode(t)
	const pollers, polls = 4, 20_000
	var returned atomic.Int64
	var running sync.WaitGroup
	for range pollers {
		running.Go(func() {
			for range polls {
				if _, err := n.store.HasPending(t.Context(), box); err != nil {
					t.Error(err)
				}
				returned.Add(1)
			}
		})
	}
	for least := int64(0); least < pollers*polls; {
		least = returned.Load()
		var got uint64
		for _, series := range n.durations().DataPoints {
			got += series.Count
		}
		if got < uint64(least) {
			t.Errorf("a scrape has %d of %d durations", got, least)
		}
	}
	running.Wait()
	n.check("pendingq.operation.duration", fmt.Sprint("has_pending ", pollers*polls))
}

func TestASampledSpanIsAnExemplar(t *testing.T) {
	n := newNode(t, memory.New(), trace.AlwaysSample())
	ctx, span := n.tracer.Tracer("test").Start(t.Context(), "a page")
	_, err := n.store.HasPending(ctx, box)
	n.must(err)
	exemplars := n.durations().DataPoints[0].Exemplars
	want := span.SpanContext().SpanID()
	if len(exemplars) != 1 || !bytes.Equal(exemplars[0].SpanID, want[:]) {
		t.Errorf("the exemplars are %v, want one of span %s", exemplars, want)
	}
}

func TestAScrapeDoesNotAskTheBackend(t *testing.T) {
	calls := 0
	n := newNode(t, counting{memory.New(), &calls}, nil)
	n.create()
	_, err := n.store.HasPending(t.Context(), box)
	n.must(err)
	before := calls
	n.collected()
	if before == 0 || calls != before {
		t.Errorf("%d calls before the scrape, %d after it", before, calls)
	}
}

// counting counts the calls of HasPending and Get.
type counting struct {
	backends.Backend
	calls *int
}

func (b counting) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	*b.calls++
	return b.Backend.HasPending(ctx, store, mailbox)
}

func (b counting) Get(ctx context.Context, store, id string) (backends.Record, error) {
	*b.calls++
	return b.Backend.Get(ctx, store, id)
}
