package goredis_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Of two expired leases, the first one to expire has the later last deadline.
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
