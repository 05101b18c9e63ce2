package pending_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
)

// note is the payload of a second kind of store.
type note struct{ Text string }

func newNotes(t *testing.T, b backends.Backend) *pending.PendingStore[note] {
	t.Helper()
	p := policy()
	p.Name = "notes"
	s, err := pending.New(b, codec.Msgpack[note](), p)
	mustDo(t, err)
	return s
}

func ids[T any](claims []*pending.Claim[T]) string {
	var ids []string
	for _, c := range claims {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, " ")
}

// claimed returns the claims that a delivery has of one store of its inbox.
func claimed[T any](
	t *testing.T, d *pending.Delivery, s *pending.PendingStore[T]) []*pending.Claim[T] {
	t.Helper()
	claims, err := pending.Claimed(d, s)
	mustDo(t, err)
	return claims
}

func TestAClaimIDHoldsForItsMailboxAndStores(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		for range 4 {
			create(t, s)
		}
		elsewhere, err := s.Create(t.Context(), "runtime-2", job{})
		mustDo(t, err)
		claim := pending.WithClaimID("c")
		first := pop(t, s, claim)
		checkRequest(t, &pop(t, s, claim).Request, first.Request)
		if other := pop(t, s, pending.WithClaimID("d")); other.ID == first.ID {
			t.Error("another claim id got the same request")
		}
		other, err := s.PopPending(t.Context(), "runtime-2", claim)
		mustDo(t, err)
		if other.ID != elsewhere.ID {
			t.Errorf("in another mailbox the claim id got %v, want %s", other, elsewhere.ID)
		}
		inbox, err := pending.NewInbox(s, newNotes(t, b))
		mustDo(t, err)
		d, err := inbox.Pop(t.Context(), box, claim)
		mustDo(t, err)
		if got := claimed(t, d, s); len(got) != 1 || got[0].ID == first.ID {
			t.Errorf("with other stores the claim id got %v, want another request", ids(got))
		}
		again, err := s.PopPendingBatch(t.Context(), box, 100, claim)
		if err != nil || ids(again) != first.ID {
			t.Errorf("a repeat with another limit got %v (%v), want %s", ids(again), err, first.ID)
		}
	})
}

func TestAnInboxServesSeveralStoresAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		jobs, notes := newStore(t, b, policy()), newNotes(t, b)
		inbox, err := pending.NewInbox(jobs, notes)
		mustDo(t, err)
		d, err := inbox.Pop(t.Context(), box)
		if d != nil || !errors.Is(err, pending.ErrNoPending) {
			t.Fatalf("an empty mailbox gave %v (%v), want ErrNoPending", d, err)
		}
		var want string
		for range 3 {
			want += create(t, jobs).ID + " "
		}
		made, err := notes.Create(t.Context(), box, note{"hello"})
		mustDo(t, err)
		d, err = inbox.Pop(t.Context(), box, pending.WithLimit(jobs, 2))
		mustDo(t, err)
		// Claimed also accepts another store of the same name.
		got := claimed(t, d, newStore(t, b, policy()))
		if len(got) != 2 || !strings.Contains(want, got[0].ID) {
			t.Errorf("got jobs %v, want two of %v", ids(got), want)
		}
		if got := claimed(t, d, notes); ids(got) != made.ID || got[0].Payload.Text != "hello" {
			t.Errorf("got notes %v, want %s", ids(got), made.ID)
		}
		if got := claimed(t, nil, jobs); got != nil {
			t.Errorf("a nil delivery has %v", got)
		}
	})
}

func TestAStoreThatIsNotInTheInboxIsAnError(t *testing.T) {
	b := memory.New()
	jobs, notes := newStore(t, b, policy()), newNotes(t, b)
	inbox, err := pending.NewInbox(jobs)
	mustDo(t, err)
	create(t, jobs)
	d, err := inbox.Pop(t.Context(), box)
	mustDo(t, err)
	_, err = pending.Claimed(d, notes)
	checkErr(t, "a store that is not in the inbox", err, pending.ErrInvalid)
	namesake, err := pending.New(b, codec.JSON[note](), policy())
	mustDo(t, err)
	_, err = pending.Claimed(d, namesake)
	checkErr(t, "a store of the same name with another payload", err, pending.ErrInvalid)
}

func TestEveryPopOfAnEmptyMailboxReturnsErrNoPending(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		in, err := pending.NewInbox(s, newNotes(t, b))
		mustDo(t, err)
		ctx := t.Context()
		_, alone := s.PopPending(ctx, box)
		batch, inBatch := s.PopPendingBatch(ctx, box, 10)
		d, inInbox := in.Pop(ctx, box)
		many, ofMany := in.PopMany(ctx, []string{box, "runtime-2"})
		checkErr(t, "PopPending", alone, pending.ErrNoPending)
		checkErr(t, "PopPendingBatch", inBatch, pending.ErrNoPending)
		checkErr(t, "Pop", inInbox, pending.ErrNoPending)
		checkErr(t, "PopMany", ofMany, pending.ErrNoPending)
		if batch != nil || d != nil || many[0] != nil || many[1] != nil {
			t.Errorf("got %v, %v, %v; want nothing", batch, d, many)
		}
	})
}

func TestInvalidInboxesAreRefused(t *testing.T) {
	b := memory.New()
	jobs, elsewhere := newStore(t, b, policy()), newNotes(t, memory.New())
	var none *jobStore
	for want, stores := range map[string][]pending.Source{
		"no stores":       nil,
		"twice":           {jobs, newStore(t, b, policy())},
		"another backend": {jobs, elsewhere},
		"is nil":          {jobs, nil},
		"a store is nil":  {none},
		"made by New":     {jobs, &jobStore{}},
	} {
		_, err := pending.NewInbox(stores...)
		checkInvalid(t, err, want)
	}
	inbox, err := pending.NewInbox(jobs)
	mustDo(t, err)
	for want, opt := range map[string]pending.PopOption{
		`"notes", which is not`: pending.WithLimit(elsewhere, 1),
		"limit is 0":            pending.WithLimit(jobs, 0),
		"claim id":              pending.WithClaimID(""),
	} {
		_, err := inbox.Pop(t.Context(), box, opt)
		checkInvalid(t, err, want)
	}
	checkErr(t, "no mailbox", failure(inbox.Pop(t.Context(), "")), pending.ErrInvalid)
	zero := new(pending.Inbox)
	for _, err := range []error{failure(zero.Pop(t.Context(), box)),
		failure(zero.PopMany(t.Context(), []string{box})), failure(zero.Await(t.Context(), box))} {
		checkInvalid(t, err, "the inbox was not made by NewInbox")
	}
}

func TestACodecIsChangedWithoutLosingAnything(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		before, after := newStore(t, b, policy()), newMsgpackStore(t, b)
		asked := create(t, before)
		r := pop(t, after)
		if r.ID != asked.ID || r.Payload.Owner != "ada" {
			t.Errorf("got %v with payload %v", r, r.Payload)
		}
		mustDo(t, after.Complete(t.Context(), r))
		checkRequest(t, get(t, after, r.ID), r.Request)
	})
}

func TestAnUnreadablePayloadIsReportedAndOthersAreClaimed(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		writer, err := pending.New(b, codec.Msgpack[job](), policy())
		mustDo(t, err)
		bad, good := create(t, writer), create(t, s)

		_, err = s.Get(t.Context(), bad.ID)
		checkDecodeError(t, err, bad.ID, 0)
		got, err := s.PopPendingBatch(t.Context(), box, 10)
		if ids(got) != good.ID {
			t.Errorf("got %v, want %s", ids(got), good.ID)
		}
		checkDecodeError(t, err, bad.ID, 1)

		if still := get(t, writer, bad.ID); still.Status != pending.StatusRunning {
			t.Errorf("the request is %s, want running", still.Status)
		}
		unread, err := s.Held(t.Context(), bad.ID, 1)
		checkDecodeError(t, err, bad.ID, 1)
		mustDo(t, s.Fail(t.Context(), unread, "unreadable"))

		bad = create(t, writer)
		_, err = s.PopPending(t.Context(), box)
		checkDecodeError(t, err, bad.ID, 1)
		inbox, err := pending.NewInbox(s)
		mustDo(t, err)
		bad = create(t, writer)
		d, err := inbox.Pop(t.Context(), box)
		if d == nil {
			t.Error("an inbox with one unreadable request gave no delivery")
		}
		checkDecodeError(t, err, bad.ID, 1)
	})
}

func checkDecodeError(t *testing.T, err error, id string, attempt int) {
	t.Helper()
	var decode *pending.DecodeError
	if !errors.As(err, &decode) || decode.ID != id || decode.Attempt != attempt ||
		decode.Store != "jobs" {
		t.Errorf("got %v, want a DecodeError of %s at attempt %d", err, id, attempt)
	}
	if !strings.Contains(fmt.Sprint(err), id) {
		t.Errorf("%v does not name %s", err, id)
	}
}

func TestADamagedRecordIsReportedAndOthersAreClaimed(t *testing.T) {
	m, client := redistest.Mini(t)
	b, err := goredis.New(client, nil)
	mustDo(t, err)
	s, notes := newStore(t, b, policy()), newNotes(t, b)
	bad := create(t, s)
	worker := held(t, s, bad.ID, 0)
	create(t, s)
	for _, key := range m.Keys() {
		if strings.HasSuffix(key, bad.ID) {
			mustDo(t, m.Set(key, "2 is a later version"))
		}
	}
	_, err = s.Get(t.Context(), bad.ID)
	checkDecodeError(t, err, bad.ID, 0)
	checkDecodeError(t, s.Complete(t.Context(), worker), bad.ID, 0)
	checkDecodeError(t, s.Extend(t.Context(), worker), bad.ID, 0)
	_, err = s.Held(t.Context(), bad.ID, 0)
	checkDecodeError(t, err, bad.ID, 0)
	if c, err := s.PopPending(t.Context(), box); c == nil {
		t.Errorf("PopPending, with one good request: %v", err)
	}
	_, err = s.PopPending(t.Context(), box)
	checkDecodeError(t, err, bad.ID, 0)

	made, err := notes.Create(t.Context(), box, note{"x"})
	mustDo(t, err)
	inbox, err := pending.NewInbox(s, notes)
	mustDo(t, err)
	d, err := inbox.Pop(t.Context(), box)
	checkDecodeError(t, err, bad.ID, 0)
	if got := claimed(t, d, notes); ids(got) != made.ID {
		t.Errorf("got notes %v, want %s", ids(got), made.ID)
	}
}

func TestManyMailboxesArePoppedAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		in, err := pending.NewInbox(s)
		mustDo(t, err)
		const n = 8
		mailboxes, want := make([]string, n), map[string]string{}
		for i := range mailboxes {
			mailboxes[i] = fmt.Sprint("runtime-", i)
			if i%3 == 0 {
				r, err := s.Create(t.Context(), mailboxes[i], job{Command: "uptime"})
				mustDo(t, err)
				want[mailboxes[i]] = r.ID
			}
		}
		for range 2 { // the second time with the same claim id
			deliveries, err := in.PopMany(t.Context(), mailboxes, pending.WithClaimID("c"))
			mustDo(t, err)
			got := map[string]string{}
			for i, d := range deliveries {
				for _, r := range claimed(t, d, s) {
					got[mailboxes[i]] = r.ID
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		_, err = in.PopMany(t.Context(), []string{"a", ""})
		checkErr(t, "an empty mailbox", err, pending.ErrInvalid)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		deliveries, err := in.PopMany(ctx, []string{"a", "b"})
		checkErr(t, "a cancelled context", err, context.Canceled)
		if deliveries[0] != nil {
			t.Errorf("a cancelled context: got delivery %v, want none", deliveries[0])
		}
	})
}

// traced is a decorator that Go cannot compare.
type traced struct {
	backends.Backend
	trace func(operation string)
}

func TestAnInboxRefusesBackendsThatCannotBeCompared(t *testing.T) {
	b := traced{memory.New(), func(string) {}}
	_, err := pending.NewInbox(newStore(t, b, policy()), newNotes(t, b))
	checkInvalid(t, err, "traced")
}
