package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(*testing.T) backends.Backend { return memory.New() }

func TestConformance(t *testing.T) { backendtest.Run(t, open) }

func TestConformanceOnFakeTime(t *testing.T) { backendtest.Run(t, open, backendtest.InBubble()) }

func TestTheClockIsTruncatedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fraction = 700 * time.Nanosecond // most of a microsecond
		<-time.After(fraction)
		b := memory.New()
		<-time.After(fraction)
		before := time.Now().Truncate(time.Microsecond)
		terms := backends.Terms{Store: "s", PendingTimeout: time.Minute, Retention: time.Minute}
		made, err := b.Create(t.Context(),
			backends.Create{Terms: terms, ID: backends.NewID("box"), Mailbox: "box"})
		if err != nil || !made.CreatedAt.Equal(before) {
			t.Errorf("created at %v, %v; want %v", made.CreatedAt, err, before)
		}
	})
}

// List holds the lock of its shard, so it must not do work for each request beyond comparing it.
func TestAPageOfALargeMailboxTakesLittleMemory(t *testing.T) {
	b := memory.New()
	terms := backends.Terms{Store: "s", PendingTimeout: time.Minute, Retention: time.Minute}
	for range 1000 {
		_, err := b.Create(t.Context(),
			backends.Create{Terms: terms, ID: backends.NewID("box"), Mailbox: "box"})
		if err != nil {
			t.Fatal(err)
		}
	}
	seen, after := 0, ""
	for ok := true; ok; ok = after != "" {
		page, err := b.List(t.Context(), "s", "box", after, 10)
		if err != nil {
			t.Fatal(err)
		}
		seen, after = seen+len(page.Records), page.Next
	}
	allocated := testing.AllocsPerRun(10, func() { _, _ = b.List(t.Context(), "s", "box", "", 10) })
	if seen != 1000 || allocated > 100 {
		t.Errorf("%d requests, want 1000; a page of 10 takes %v allocations", seen, allocated)
	}
}
