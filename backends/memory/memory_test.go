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
