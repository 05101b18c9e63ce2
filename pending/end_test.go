package pending_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

func TestEachEndingStoresItsStatusReasonAndPayload(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		for _, tc := range []struct {
			end           func(c *jobClaim) error
			status        pending.Status
			reason        string
			storesPayload bool
		}{
			{func(c *jobClaim) error { return s.Complete(t.Context(), c) },
				pending.StatusCompleted, "", true},
			{func(c *jobClaim) error { return s.Fail(t.Context(), c, "no disk") },
				pending.StatusFailed, "no disk", true},
			{func(c *jobClaim) error { return s.Finish(t.Context(), c, "conflict") },
				"conflict", "", true},
			{func(c *jobClaim) error { return s.Timeout(t.Context(), &c.Request) },
				pending.StatusTimeout, "timed out: the requester gave up waiting", false},
		} {
			create(t, s)
			r := pop(t, s)
			want := r.Request
			r.Payload.Output = "the answer"
			if tc.storesPayload {
				want.Payload.Output = "the answer"
			}
			mustDo(t, tc.end(r))
			want.Status, want.Error, want.UpdatedAt = tc.status, tc.reason, r.UpdatedAt
			got := get(t, s, r.ID)
			checkRequest(t, got, want)
			if r.Status != want.Status || r.Error != want.Error {
				t.Errorf("the call set status %s and error %q, want %s and %q",
					r.Status, r.Error, want.Status, want.Error)
			}
		}
	})
}

// endings are the ways to end a request, by the name of the method.
var endings = map[string]func(context.Context, *jobStore, *jobClaim) error{
	"Complete": func(ctx context.Context, s *jobStore, c *jobClaim) error {
		return s.Complete(ctx, c)
	},
	"Fail": func(ctx context.Context, s *jobStore, c *jobClaim) error {
		return s.Fail(ctx, c, "why")
	},
	"Finish": func(ctx context.Context, s *jobStore, c *jobClaim) error {
		return s.Finish(ctx, c, "conflict")
	},
	"Timeout": func(ctx context.Context, s *jobStore, c *jobClaim) error {
		return s.Timeout(ctx, &c.Request)
	},
}

func TestAnEndingMayBeRepeatedFromAnyNode(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		node1, node2 := newStore(t, b, policy()), newMsgpackStore(t, b)
		for name, end := range endings {
			create(t, node1)
			c := pop(t, node1)
			c.Payload.Output = "answer"
			c.Payload.Env = map[string]string{"a": "1", "b": "2", "c": "3"}
			first := *c
			mustDo(t, end(t.Context(), node1, &first))
			calls.Pass(time.Second)
			for _, node := range []*jobStore{node1, node2} {
				repeat := *c
				if err := end(t.Context(), node, &repeat); err != nil {
					t.Errorf("%s, repeated: %v", name, err)
				}
				if repeat.Status != first.Status || !repeat.UpdatedAt.Equal(first.UpdatedAt) {
					t.Errorf("%s, repeated: %s at %v, want %s at %v", name,
						repeat.Status, repeat.UpdatedAt, first.Status, first.UpdatedAt)
				}
			}
			for other, endOtherwise := range endings {
				late := *c
				if other != name {
					err := endOtherwise(t.Context(), node2, &late)
					checkErr(t, other+" after "+name, err, pending.ErrEnded)
				}
			}
		}
	})
}

func TestAnotherEndingIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		node1, node2 := newStore(t, b, policy()), newMsgpackStore(t, b)
		for name, end := range endings {
			create(t, node1)
			c := pop(t, node1)
			c.Payload.Output = "answer"
			first, otherAnswer, otherAttempt := *c, *c, *c
			otherAnswer.Payload.Output = "another answer"
			otherAttempt.Attempt = 2
			mustDo(t, end(t.Context(), node1, &first))
			want := pending.ErrEnded
			if name == "Timeout" {
				want = nil // it has no answer, and is not bound to an attempt
			}
			for _, node := range []*jobStore{node1, node2} {
				for _, late := range []jobClaim{otherAnswer, otherAttempt} {
					checkErr(t, name+", another", end(t.Context(), node, &late), want)
					if want != nil && late.Status != pending.StatusRunning {
						t.Errorf("%s was refused and set status %s", name, late.Status)
					}
				}
			}
		}
	})
}

// A report may be repeated at a node that writes with another codec. The payloads are equal, but
// their bytes differ.
func TestAnEndingMayBeRepeatedWithAnotherCodec(t *testing.T) {
	local := time.Local
	time.Local = time.FixedZone("", 2*3600) // Msgpack decodes times in this zone
	t.Cleanup(func() { time.Local = local })
	type visit struct {
		At   time.Time
		Raw  json.RawMessage
		List []string
	}
	asJSON, asMsgpack := codec.JSON[visit](), codec.Msgpack[visit]()
	onEach(t, func(t *testing.T, b backends.Backend) {
		for _, codecs := range [][]codec.Codec[visit]{{asJSON, asMsgpack}, {asMsgpack, asJSON}} {
			first, err := pending.New(b, codecs[0], policy(), pending.AlsoReads(codecs[1]))
			mustDo(t, err)
			second, err := pending.New(b, codecs[1], policy(), pending.AlsoReads(codecs[0]))
			mustDo(t, err)
			made, err := first.Create(t.Context(), box, visit{})
			mustDo(t, err)
			r, err := first.Held(t.Context(), made.ID, 0)
			mustDo(t, err)
			r.Payload.At = time.Unix(1e9, 0).UTC()
			mustDo(t, first.Complete(t.Context(), r))
			same := *r
			same.Payload = visit{At: r.Payload.At.In(time.Local), List: []string{}}
			other := *r
			other.Payload.At = r.Payload.At.Add(1)
			for _, node := range []*pending.PendingStore[visit]{first, second} {
				name := codecs[0].Name() + " first"
				checkErr(t, name+", repeated", node.Complete(t.Context(), r), nil)
				checkErr(t, name+", an equal payload", node.Complete(t.Context(), &same), nil)
				err := node.Complete(t.Context(), &other)
				checkErr(t, name+", another payload", err, pending.ErrEnded)
			}
		}
	})
}

func TestRefusalsComeInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		gone := held(t, s, create(t, s).ID, 0)
		gone.ID = backends.NewID(box)
		checkErr(t, "an unknown request", s.Complete(t.Context(), gone), pending.ErrNotFound)
		pop(t, s)
		unclaimed := held(t, s, create(t, s).ID, 0)
		unclaimed.Attempt = 1
		complete := func() error { return s.Complete(t.Context(), unclaimed) }
		checkErr(t, "Complete, unclaimed", complete(), pending.ErrStaleClaim)
		checkErr(t, "Extend, unclaimed", s.Extend(t.Context(), unclaimed), pending.ErrStaleClaim)
		calls.Pass(time.Minute + time.Microsecond) // past its deadline
		checkErr(t, "Complete after the deadline", complete(), pending.ErrEnded)
		timeout := s.Timeout(t.Context(), &unclaimed.Request)
		checkErr(t, "Timeout after the deadline", timeout, pending.ErrEnded)
	})
}

func TestDeadlinesAreInclusive(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		r := create(t, s)
		calls.Pass(time.Until(r.Deadline))
		if got := get(t, s, r.ID).Status; got != pending.StatusPending {
			t.Errorf("at its deadline: %s, want pending", got)
		}
		calls.Pass(time.Microsecond)
		got := get(t, s, r.ID)
		if got.Status != pending.StatusTimeout || !got.UpdatedAt.Equal(r.Deadline) ||
			!strings.Contains(got.Error, "1m0s") {
			t.Errorf("a microsecond later: %s since %v, %q", got.Status, got.UpdatedAt, got.Error)
		}
		checkErr(t, "PopPending", failure(s.PopPending(t.Context(), box)), pending.ErrNoPending)
	})
}

func TestExtendKeepsALongJobAlive(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		create(t, s)
		r := pop(t, s)
		for range 5 {
			calls.Pass(110 * time.Second)
			mustDo(t, s.Extend(t.Context(), r))
			checkRequest(t, get(t, s, r.ID), r.Request)
		}
		if got := time.Until(r.Deadline); got != 2*time.Minute || r.CancelRequested {
			t.Errorf("the lease lasts %v, cancel requested %v", got, r.CancelRequested)
		}
		mustDo(t, s.Complete(t.Context(), r))
	})
}

func TestAnExpiredLeaseIsClaimedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		create(t, s)
		old := pop(t, s)
		calls.Pass(2*time.Minute + time.Second)
		got := get(t, s, old.ID)
		if got.Status != pending.StatusPending || got.Attempt != 1 {
			t.Errorf("expired: %s at attempt %d, want pending at 1", got.Status, got.Attempt)
		}
		checkErr(t, "Extend, expired", s.Extend(t.Context(), old), pending.ErrStaleClaim)
		renewed := pop(t, s)
		if renewed.ID != old.ID || renewed.Attempt != 2 {
			t.Errorf("got %s at attempt %d", renewed.ID, renewed.Attempt)
		}
		checkErr(t, "Complete, expired", s.Complete(t.Context(), old), pending.ErrStaleClaim)
		mustDo(t, s.Complete(t.Context(), renewed))
	})
}

func TestALongReasonIsCutBetweenCharacters(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		create(t, s)
		r := pop(t, s)
		mustDo(t, s.Fail(t.Context(), r, "x\xff"+strings.Repeat("ü", 16<<10)))
		got := get(t, s, r.ID).Error
		valid := utf8.ValidString(got) && strings.HasPrefix(got, "x\uFFFDü")
		if len(got) > 16<<10 || len(got) < 16<<10-4 || !valid {
			t.Errorf("stored %d bytes, valid %v: %.20q", len(got), valid, got)
		}
		if r.Error != got {
			t.Error("the claim has another reason than the stored request")
		}
	})
}
