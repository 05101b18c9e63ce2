package bench

import (
	"testing"

	"github.com/pendingq/pendingq/internal/redistest"
)

// suite is a Suite on a redis-server of its own.
func suite(tb testing.TB) *Suite {
	tb.Helper()
	redistest.Need(tb)
	s, err := StartServer(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	return &Suite{Addr: s.Addr, Rounds: 1, Each: 1, Swept: 1, Progress: tb.Logf}
}

func TestEachSideTakesItsRoundTrips(t *testing.T) {
	s := suite(t)
	for side, want := range map[string]int64{
		"original": 7, "floor": 4, "pendingq": 4, "pendingq-held": 5} {
		client := NewClient(s.Addr, 1)
		t.Cleanup(func() { client.Close() })
		stack, err := NewSide(client, side)
		if err != nil {
			t.Fatal(err)
		}
		counted := &tripCounter{}
		client.AddHook(counted)
		for range 2 { // the first time, scripts are sent in full
			counted.Store(0)
			if err := stack.Lifecycle(t.Context(), "trips"); err != nil {
				t.Fatal(err)
			}
		}
		if got := counted.Load(); got != want {
			t.Errorf("a lifecycle of %s takes %d round trips, want %d", side, got, want)
		}
	}
}
