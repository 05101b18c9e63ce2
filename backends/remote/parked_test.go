package remote_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/remote"
)

func TestAFrontEndThatParksAllItMayStarvesNoDevice(t *testing.T) {
	var parked, refused atomic.Int32
	r := newRig(t, newMemory(), func(c *remote.Config) { c.MaxParked = 10_000 })
	r.client = newClient(t, r.url, "the member")
	ctx, hangUp := context.WithCancel(t.Context())
	var waits sync.WaitGroup
	defer waits.Wait()
	defer hangUp()
	wait := r.url + "/requests/" + r.running().ID + "?store=s&wait=60s"
	for range 120 {
		waits.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", wait, nil)
			req.Header.Set("Authorization", "Bearer the member")
			parked.Add(1)
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			parked.Add(-1)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			retryAfter := resp.Header.Get("Retry-After")
			if resp.StatusCode == http.StatusTooManyRequests && retryAfter != "" {
				refused.Add(1)
			}
		})
	}
	r.until("the server has refused 20 waits and parked 100", func() bool {
		return refused.Load() == 20 && parked.Load() == 100
	})
	device := newClient(t, r.url, "the device")
	signal, stop := device.WatchMailbox(t.Context(), box)
	defer stop()
	r.until("the server has parked the device's watch", func() bool {
		return device.PollInterval() >= 15*time.Second
	})
	made := r.create()
	r.signalled(signal)
	claimed, err := device.Claim(t.Context(), poll("s"))
	if err != nil || claimed[0].Records[0].ID != made.ID {
		t.Fatalf("claim: got %v, %v", claimed, err)
	}
	if _, err := device.End(t.Context(), completion("s", claimed[0].Records[0])); err != nil {
		t.Error(err)
	}
}

// A busy device waits for a cancel of the request that it runs. That wait counts as a worker's.
func TestAFrontEndThatParksAllItMayLeavesABusyDeviceItsPlace(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.MaxParked, c.Access = 1, roles{} })
	r.client = newClient(t, r.url, "the front end")
	id := r.create().ID
	device := newClient(t, r.url, "the device")
	if _, err := device.Claim(t.Context(), poll("s")); err != nil {
		t.Fatal(err)
	}
	r.watches("the front end", `{"requests":["`+id+`"]}`)
	other := newClient(t, r.url, "the front end")
	_, stop := other.WatchRequest(t.Context(), id)
	defer stop()
	r.until("the server has refused a second watch of the front end", func() bool {
		return other.PollInterval() <= 2*time.Second
	})
	signal, stop := device.WatchRequest(t.Context(), id)
	defer stop()
	r.until("the server has parked the device's watch", func() bool {
		return device.PollInterval() >= 15*time.Second
	})
	_, err := r.client.Cancel(t.Context(), backends.Cancel{Terms: terms("s"), ID: id,
		Outcome: backends.StatusCancelled})
	if err != nil {
		t.Fatal(err)
	}
	r.signalled(signal)
}

// watches makes a watch that the server has parked.
func (r *rig) watches(token, body string) stream {
	r.Helper()
	watch := r.open("POST", "/watch", body, "Authorization", "Bearer "+token)
	if watch.resp.StatusCode != http.StatusOK {
		r.Fatalf("a watch of %s: got %s", token, watch.resp.Status)
	}
	return watch
}

func TestADeviceWhoseWatchIsNotParkedStillClaims(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.MaxParked = 1 })
	r.watches("first", `{"mailboxes":["another"]}`)
	device := newClient(t, r.url, "device")
	_, stop := device.WatchMailbox(t.Context(), box)
	defer stop()
	r.until("the server has refused the device's watch", func() bool {
		return device.PollInterval() <= 2*time.Second
	})
	r.create()
	claimed, err := device.Claim(t.Context(), poll("s"))
	if err != nil || len(claimed[0].Records) != 1 {
		t.Errorf("claim: got %v, %v", claimed, err)
	}
}

// Each mailbox or request of a watch costs the server some KiB.
func TestTheWatchesOfOneCallerNameABoundedNumberOfRequests(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.MaxParked = 20 })
	body := `{"requests":["` + strings.Repeat(backends.NewID(box)+`","`, 24) + `"]}`
	watch := func(token string) (status int, hangUp func()) {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "POST", r.url+"/watch", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, func() { cancel(); resp.Body.Close() }
	}
	status, hangUp := watch("greedy")
	if status != http.StatusOK {
		t.Fatalf("the first watch: %d", status)
	}
	got, leave := watch("greedy")
	if leave(); got != http.StatusTooManyRequests {
		t.Errorf("the second watch: %d", got)
	}
	got, leave = watch("another")
	if leave(); got != http.StatusOK {
		t.Errorf("the watch of another caller: %d", got)
	}
	hangUp()
	r.until("the first watch has left its place", func() bool {
		got, leave := watch("greedy")
		leave()
		return got == http.StatusOK
	})
}
