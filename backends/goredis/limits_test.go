package goredis_test

import (
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/redistest"
)

// Two expired leases: the one that expired first has its last deadline last.
func TestExpiredLeasesOfMixedTermsAreClaimedByTheirDeadlines(t *testing.T) {
	onFakeTime(t, func(t *testing.T, r *rig, _ *miniredis.Miniredis) {
		long, short := lasting("s"), lasting("s")
		long.MaxAttempts, short.MaxAttempts = 2, 2
		short.PendingTimeout = time.Minute
		r.create(lasting("s"), box)
		r.claim(long, box, 1)
		time.Sleep(time.Second)
		want := r.create(lasting("s"), box)
		r.claim(short, box, 1)
		time.Sleep(time.Hour + 2*time.Second)
		if got := r.claim(long, box, 1); len(got) != 1 || got[0].ID != want.ID {
			t.Errorf("claimed %v, want %s, whose deadline comes first", got, want.ID)
		}
	})
}

func TestAThousandRecordsThatCannotBeReadHideNoOthers(t *testing.T) {
	onFakeTime(t, func(t *testing.T, r *rig, mini *miniredis.Miniredis) {
		first := r.create(lasting("s"), box)
		r.fill(mini, 1200, func(string) (string, float64) {
			return "garbage", float64(first.Deadline.UnixMicro() - 1)
		})
		for range 2 {
			claimed, err := r.b.Claim(t.Context(), heartbeat(box, 1, lasting("s")))
			if err != nil {
				t.Fatal(err)
			}
			if len(claimed[0].Records) == 1 {
				return
			}
		}
		t.Error("two claims did not get the request behind them")
	})
}

func TestMaxPendingCountsAllExpiredLeases(t *testing.T) {
	r := newRig(t, redistest.Start(t).Client(t))
	terms := lasting("s")
	terms.MaxAttempts = 3
	r.crowd(terms, 3000, time.Hour)
	terms.MaxPending = 2000
	_, err := r.b.Create(t.Context(), question(terms, box))
	if !errors.Is(err, backends.ErrFull) {
		t.Errorf("with 3,000 claimable requests: got %v, want ErrFull", err)
	}
}
