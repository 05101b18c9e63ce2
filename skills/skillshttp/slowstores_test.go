package skillshttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// stuck is a backend whose claims hang until the channel is closed.
type stuck struct {
	backends.Backend
	hang chan struct{}
}

func (b *stuck) Unwrap() backends.Backend { return b.Backend }

func (b *stuck) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	<-b.hang
	return b.Backend.Claim(ctx, c)
}

func TestAHeartbeatIsAnsweredWithinHeartbeatTime(t *testing.T) {
	for _, wait := range []string{"", "?wait=50s"} {
		b := &stuck{memory.New(), make(chan struct{})}
		w := newWorldOn(t, b, func(c *skillshttp.Config) {
			c.HeartbeatTime = 20 * time.Millisecond
		})
		id := w.ask("/ping", "")
		r := w.send("daemon-"+laptop, "POST", heartbeatPath+wait, beat)
		w.want("hung", r, 200, `{"status":"ok"}`)
		if r.header.Get("Claim-Failed") == "" {
			t.Errorf("the answer has no Claim-Failed: %v", r.header)
		}
		if !strings.Contains(w.log.String(), `"level":"WARN"`) {
			t.Errorf("the log has no warning:\n%s", w.log)
		}
		close(b.hang)
		w.eventually("the work arrives without a claim id of the daemon", func() bool {
			return strings.Contains(w.heartbeat(beat).body, id)
		})
		if strings.Contains(w.log.String(), `"level":"ERROR"`) {
			t.Errorf("an error is logged:\n%s", w.log)
		}
	}
}

// broken is a backend whose claims fail.
type broken struct{ backends.Backend }

func (broken) Claim(context.Context, backends.Claim) ([]backends.Claimed, error) {
	return nil, errors.New("secret: connection refused")
}

func TestAHeartbeatNeverFailsBecauseOfAStore(t *testing.T) {
	w := newWorldOn(t, broken{memory.New()})
	w.want("failed", w.heartbeat(beat), 200, `{"status":"ok"}`)
	w.want("held", w.heldHeartbeat("50s"), 200, `{"status":"ok"}`)
	log := w.log.String()
	if !strings.Contains(log, "connection refused") || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the log:\n%s", log)
	}
}

// away is a backend whose claims fail, and that notes the id of the last one.
type away struct {
	backends.Backend
	claimID string
}

func (b *away) Claim(_ context.Context, c backends.Claim) ([]backends.Claimed, error) {
	b.claimID = c.ID
	return nil, errors.New("connection refused")
}

// Ten thousand runtimes have claims whose outcome is unknown, and never return.
func TestAnUnsureClaimIsRepeatedAfterManyOthers(t *testing.T) {
	b := &away{Backend: memory.New()}
	stores, err := skills.New(b)
	if err != nil {
		t.Fatal(err)
	}
	s := newSocketless(t, func(c *skillshttp.Config) { c.Stores, c.Access = stores, anyone{} })
	for i := range 10_000 {
		s.send("", "POST", heartbeatPath, fmt.Appendf(nil, `{"runtime_id":"runtime-%d"}`, i), 200)
	}
	s.send("", "POST", heartbeatPath, []byte(beat), 200)
	claimID := b.claimID
	s.send("", "POST", heartbeatPath, []byte(beat), 200)
	if b.claimID != claimID {
		t.Errorf("the next heartbeat claims as %q, want %q again", b.claimID, claimID)
	}
}

func TestAnUnsureClaimIsKeptForHeartbeatsWithoutAClaimID(t *testing.T) {
	b := &away{Backend: memory.New()}
	w := newWorldOn(t, b)
	w.want("failed", w.heartbeat(beat), 200, `{"status":"ok"}`)
	claimID := b.claimID
	w.heartbeat(`{"runtime_id":"` + laptop + `","claim_id":"its own"}`)
	w.heartbeat(beat)
	if b.claimID != claimID {
		t.Errorf("the next heartbeat claims as %q, want %q again", b.claimID, claimID)
	}
}

func TestAHangUpAndAnOfflineRuntimeAreNoErrors(t *testing.T) {
	w := newWorld(t)
	ctx, hangUp := context.WithCancel(t.Context())
	url := w.url + heartbeatPath + "?wait=50s"
	r, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(beat))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer daemon-"+laptop)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	w.parked("the heartbeat is parked", 1)
	hangUp()
	<-ended
	w.eventually("the hang-up is logged", func() bool {
		return strings.Contains(w.log.String(), "hung up")
	})
	w.presence.mu.Lock()
	w.presence.offline[laptop] = true
	w.presence.mu.Unlock()
	w.want("offline", w.send("owner", "POST", api+"/models", ""), 503, `"code":"offline"`)
	log := w.log.String()
	if strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, `"level":"WARN"`) {
		t.Errorf("the log:\n%s", log)
	}
}
