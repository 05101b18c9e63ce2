package wake_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/wake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func woken(signal <-chan struct{}) bool {
	select {
	case <-signal:
		return true
	default:
		return false
	}
}

func TestOnlyWaitersOfATopicAreWoken(t *testing.T) {
	var h wake.Hub
	h.Wake("a")
	a, stopA := h.Watch("a", "all")
	b, stopB := h.Watch("b", "all")
	h.Wake("a")
	h.Wake("a")
	if !woken(a) || woken(a) || woken(b) {
		t.Error("want one signal for a and none for b")
	}
	h.Wake("all")
	if !woken(a) || !woken(b) {
		t.Error("want a signal for both")
	}
	stopA()
	h.Wake("all")
	if woken(a) || !woken(b) {
		t.Error("want a signal only for b, because a has stopped")
	}
	stopB()
}

func TestStoppedWaitersDoNotChangeTheOrderOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h wake.Hub
		var signals []<-chan struct{}
		var stops []func()
		for range 5 {
			signal, stop := h.Watch("a", "b")
			signals, stops = append(signals, signal), append(stops, stop)
		}
		for _, gone := range []int{2, 0, 4} {
			stops[gone]()
		}
		start := time.Now()
		h.WakeSlowly("a", time.Second)
		for i, left := range []int{1, 3} {
			<-signals[left]
			if took := time.Since(start); took != time.Duration(i)*time.Second {
				t.Errorf("waiter %d was woken after %v", left, took)
			}
			stops[left]()
		}
		h.Wake("b")
		for i, signal := range signals {
			if woken(signal) {
				t.Errorf("waiter %d was woken after it had stopped", i)
			}
		}
	})
}

// If stop took time for each other waiter, this test would last minutes.
func TestAHundredThousandWaitersOfOneTopicStop(t *testing.T) {
	var h wake.Hub
	var stops []func()
	for range 100_000 {
		_, stop := h.Watch("a")
		stops = append(stops, stop)
	}
	for _, stop := range stops {
		stop()
	}
	h.Wake("a")
}

func TestWakeSlowlyWakesOneWaiterAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h wake.Hub
		var signals []<-chan struct{}
		for range 3 {
			signal, stop := h.Watch("a")
			defer stop()
			signals = append(signals, signal)
		}
		start := time.Now()
		h.WakeSlowly("a", time.Second)
		for i, signal := range signals {
			<-signal
			if took := time.Since(start); took != time.Duration(i)*time.Second {
				t.Errorf("waiter %d was woken after %v", i, took)
			}
		}
	})
}
