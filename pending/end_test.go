package pending_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

func TestEachEndingSaysWhatItStored(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		for _, tc := range []struct {
			end           func(c *pending.Claim[job]) error
			status        pending.Status
			reason        string
			storesPayload bool
		}{
			{func(c *pending.Claim[job]) error { return s.Complete(t.Context(), c) },
				pending.StatusCompleted, "", true},
			{func(c *pending.Claim[job]) error { return s.Fail(t.Context(), c, "no disk") },
				pending.StatusFailed, "no disk", true},
			{func(c *pending.Claim[job]) error { return s.Finish(t.Context(), c, "conflict") },
				"conflict", "", true},
			{func(c *pending.Claim[job]) error { return s.Timeout(t.Context(), &c.Request) },
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
				t.Errorf("in the caller's hand: %s, %q, want %s, %q", r.Status, r.Error, want.Status, want.Error)
			}
		}
	})
}

func TestAnEndingMayBeRepeatedFromAnyNode(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		node1 := newStore(t, b, policy())
		node2, err := pending.New(b, codec.Msgpack[job](), policy(), pending.AlsoReads(codec.JSON[job]()))
		mustDo(t, err)
		end := map[string]func(*pending.PendingStore[job], *pending.Claim[job]) error{
			"complete": func(s *pending.PendingStore[job], c *pending.Claim[job]) error {
				return s.Complete(t.Context(), c)
			},
			"fail": func(s *pending.PendingStore[job], c *pending.Claim[job]) error {
				return s.Fail(t.Context(), c, "why")
			},
			"finish": func(s *pending.PendingStore[job], c *pending.Claim[job]) error {
				return s.Finish(t.Context(), c, "conflict")
			},
			"timeout": func(s *pending.PendingStore[job], c *pending.Claim[job]) error {
				return s.Timeout(t.Context(), &c.Request)
			},
		}
		for name, finish := range end {
			create(t, node1)
			r := pop(t, node1)
			r.Payload.Output, r.Payload.Env = "answer", map[string]string{"a": "1", "b": "2", "c": "3"}
			first, again, elsewhere := *r, *r, *r
			mustDo(t, finish(node1, &first))
			calls.Pass(time.Second)
			for node, repeat := range map[*pending.PendingStore[job]]*pending.Claim[job]{
				node1: &again, node2: &elsewhere} {
				if err := finish(node, repeat); err != nil {
					t.Errorf("%s, repeated: %v", name, err)
				}
				if repeat.Status != first.Status || !repeat.UpdatedAt.Equal(first.UpdatedAt) {
					t.Errorf("%s, repeated: %s at %v, want %s at %v", name, repeat.Status, repeat.UpdatedAt, first.Status, first.UpdatedAt)
				}
			}
			for other, refinish := range end {
				if late := *r; other != name && !errors.Is(refinish(node2, &late), pending.ErrEnded) {
					t.Errorf("%s after %s was not refused with ErrEnded", other, name)
				}
			}
			for what, change := range map[string]func(*pending.Claim[job]){
				"content": func(c *pending.Claim[job]) { c.Payload.Output = "another answer" },
				"attempt": func(c *pending.Claim[job]) { c.Attempt = 2 },
			} {
				late := *r
				change(&late)
				for _, node := range []*pending.PendingStore[job]{node1, node2} {
					err := finish(node, &late)
					if name == "timeout" {
						if err != nil {
							t.Errorf("timeout takes any %s, got %v", what, err)
						}
					} else if !errors.Is(err, pending.ErrEnded) || late.Status != pending.StatusRunning {
						t.Errorf("%s with another %s: got %v and status %s, want ErrEnded and r untouched", name, what, err, late.Status)
					}
				}
			}
		}
	})
}

// A report may be repeated at a node that writes with another codec, and with a payload that is
// equal, though its bytes differ.
func TestAnEndingMayBeRepeatedWithAnotherCodec(t *testing.T) {
	local := time.Local
	time.Local = time.FixedZone("", 2*3600) // where msgpack's times come back
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
				if err := node.Complete(t.Context(), r); err != nil {
					t.Errorf("%s first, repeated: %v", codecs[0].Name(), err)
				}
				if err := node.Complete(t.Context(), &same); err != nil {
					t.Errorf("%s first, an equal payload: %v", codecs[0].Name(), err)
				}
				if err := node.Complete(t.Context(), &other); !errors.Is(err, pending.ErrEnded) {
					t.Errorf("%s first, another: got %v, want ErrEnded", codecs[0].Name(), err)
				}
			}
		}
	})
}

func TestRefusalsComeInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		gone := held(t, s, create(t, s).ID, 0)
		gone.ID = backends.NewID(box)
		if err := s.Complete(t.Context(), gone); !errors.Is(err, pending.ErrNotFound) {
			t.Errorf("not there: got %v, want ErrNotFound", err)
		}
		pop(t, s)
		unclaimed := held(t, s, create(t, s).ID, 0)
		unclaimed.Attempt = 1
		if err := s.Complete(t.Context(), unclaimed); !errors.Is(err, pending.ErrStaleClaim) {
			t.Errorf("never claimed: got %v, want ErrStaleClaim", err)
		}
		if err := s.Extend(t.Context(), unclaimed); !errors.Is(err, pending.ErrStaleClaim) {
			t.Errorf("extend unclaimed: got %v, want ErrStaleClaim", err)
		}
		calls.Pass(time.Minute + time.Microsecond) // past its deadline
		if err := s.Complete(t.Context(), unclaimed); !errors.Is(err, pending.ErrEnded) {
			t.Errorf("timed out, with a wrong attempt: got %v, want ErrEnded", err)
		}
		if err := s.Timeout(t.Context(), &unclaimed.Request); !errors.Is(err, pending.ErrEnded) {
			t.Errorf("giving up after it timed out by itself: got %v, want ErrEnded", err)
		}
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
		if got.Status != pending.StatusTimeout || !got.UpdatedAt.Equal(r.Deadline) || !strings.Contains(got.Error, "1m0s") {
			t.Errorf("a microsecond later: %s since %v, %q", got.Status, got.UpdatedAt, got.Error)
		}
		if _, err := s.PopPending(t.Context(), box); !errors.Is(err, pending.ErrNoPending) {
			t.Errorf("PopPending: got %v, want ErrNoPending", err)
		}
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
		p := policy()
		p.MaxAttempts = 2
		s := newStore(t, b, p)
		create(t, s)
		old := pop(t, s)
		calls.Pass(2*time.Minute + time.Second)
		got := get(t, s, old.ID)
		if got.Status != pending.StatusPending || got.Attempt != 1 {
			t.Errorf("expired: %s at attempt %d, want pending at 1", got.Status, got.Attempt)
		}
		if err := s.Extend(t.Context(), old); !errors.Is(err, pending.ErrStaleClaim) {
			t.Errorf("extend an expired lease: got %v, want ErrStaleClaim", err)
		}
		renewed := pop(t, s)
		if renewed.ID != old.ID || renewed.Attempt != 2 {
			t.Errorf("got %s at attempt %d", renewed.ID, renewed.Attempt)
		}
		if err := s.Complete(t.Context(), old); !errors.Is(err, pending.ErrStaleClaim) {
			t.Errorf("the old worker's report: got %v, want ErrStaleClaim", err)
		}
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
		if len(got) > 16<<10 || len(got) < 16<<10-4 || !utf8.ValidString(got) || !strings.HasPrefix(got, "x\uFFFDü") {
			t.Errorf("stored %d bytes, valid %v: %.20q", len(got), utf8.ValidString(got), got)
		}
		if r.Error != got {
			t.Error("the caller's request has another reason than the stored one")
		}
	})
}
