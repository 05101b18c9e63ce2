package remote_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
)

// slow is a backend whose Get of a request that does not exist says so only after release.
type slow struct {
	backends.Backend
	asked   chan struct{}
	release chan struct{}
}

func (s slow) Get(ctx context.Context, store, id string) (backends.Record, error) {
	rec, err := s.Backend.Get(ctx, store, id)
	if err != nil {
		s.asked <- struct{}{}
		<-s.release
	}
	return rec, err
}

// Four callers can hold all bytes of a side.
func TestCallersWithoutRightsUseUpNoBytesOfWorkers(t *testing.T) {
	b := slow{memory.New(), make(chan struct{}, 10), make(chan struct{})}
	r := newRig(t, b, func(c *remote.Config) {
		c.Stores = c.Stores[:1]
		c.Access, c.MaxInFlight = roles{}, 4*int64(c.Stores[0].MaxPayload)
	})
	r.client = newClient(t, r.url, "the front end")
	made := r.create()
	device := newClient(t, r.url, "the device")
	claimed, err := device.Claim(t.Context(), poll("s"))
	if err != nil || len(claimed[0].Records) != 1 {
		t.Fatalf("claim: got %v, %v", claimed, err)
	}
	var reports sync.WaitGroup
	defer reports.Wait()
	defer close(b.release)
	for i := range 4 {
		path := "/requests/" + backends.NewID(box) + "/end?store=s&mailbox=" + box
		reports.Go(func() {
			got := r.send("POST", path, fmt.Sprint("the reader ", i), `{"outcome":"failed"}`)
			if got.status != http.StatusNotFound {
				t.Errorf("got %+v", got)
			}
		})
		<-b.asked
	}
	got := r.send("POST", "/requests/"+made.ID+"/extend?store=s&mailbox="+box, "the device",
		`{"attempt":1}`)
	if got.status != http.StatusOK {
		t.Errorf("the device's report: got %+v", got)
	}
}
