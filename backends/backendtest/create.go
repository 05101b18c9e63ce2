package backendtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/pendingq/pendingq/backends"
)

var createCases = []testCase{
	{"a new request reads as it was created",
		"A front end may read on one node a request that another node stored.",
		func(w *world) {
			c := request(terms("s"), box)
			made := w.create(c)
			checkNew(w, c, made)
			checkSame(w, w.get("s", c.ID), made)
		}},

	{"a record has the time at which it was read",
		"It tells a caller how far away a deadline is, whatever the caller's clock says.",
		func(w *world) {
			t := w.retried(2)
			check := func(when string, got, want time.Time) {
				w.Helper()
				if !got.Equal(want) {
					w.Errorf("%s: read at %v, want %v", when, got, want)
				}
			}
			made := w.created(t)
			check("created", made.ReadAt, made.CreatedAt)
			before := w.later()
			w.checkNow("read while pending", w.get("s", made.ID).ReadAt, before)
			running := w.popOne(t)
			check("claimed", running.ReadAt, running.StartedAt)
			expired := w.untilStatus("s", made.ID, backends.StatusPending)
			if !expired.ReadAt.After(running.Deadline) {
				w.Errorf("read as pending at %v, before its lease expired at %v",
					expired.ReadAt, running.Deadline)
			}
			running = w.popOne(terms("s"))
			noted := w.cancel(cancelled(t, running, long))
			check("cancelled", noted.ReadAt, noted.UpdatedAt)
			ended := w.end(completion(t, running))
			w.pass(0)
			check("ended", ended.ReadAt, ended.UpdatedAt)
			check("read when ended", w.get("s", made.ID).ReadAt, ended.UpdatedAt)
		}},

	{"times are whole microseconds in UTC",
		"Two nodes that read a time have to agree on it, whatever type the engine stores.",
		func(w *world) {
			rec := w.created(terms("s"))
			times := []time.Time{rec.CreatedAt, rec.UpdatedAt, rec.Deadline, rec.LastDeadline}
			for _, at := range times {
				if at.Location() != time.UTC || at.Nanosecond()%1000 != 0 {
					w.Errorf("got %v, want whole microseconds in UTC", at)
				}
			}
		}},

	{"a payload is kept byte for byte",
		"A codec may produce any bytes, and an import has megabytes.",
		func(w *world) {
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			for _, payload := range [][]byte{nil, []byte("\x00"), all, bytes.Repeat(all, 8192)} {
				c := request(terms("s"), box)
				c.Payload = payload
				w.create(c)
				if got := w.get("s", c.ID).Payload; !bytes.Equal(got, payload) {
					w.Errorf("got %d bytes that differ from the %d stored", len(got), len(payload))
				}
			}
		}},

	{"an unknown id is not found",
		"A guessed id, an expired id and an id of another store look the same to a caller.",
		func(w *world) {
			rec := w.created(terms("s"))
			_, unknown := w.b.Get(w.Context(), "s", backends.NewID(box))
			_, other := w.b.Get(w.Context(), "other", rec.ID)
			for _, err := range []error{unknown, other} {
				if !errors.Is(err, backends.ErrNotFound) {
					w.Errorf("got %v, want ErrNotFound", err)
				}
			}
		}},

	{"an exclusive mailbox has one live request",
		"Two updates of one machine at once break it.",
		func(w *world) {
			t := terms("s")
			t.Exclusive = true
			first := w.created(t)
			w.wantBusy(t, first.ID)
			running := w.popOne(t)
			w.wantBusy(t, first.ID)
			w.end(completion(t, running))
			w.created(t)
		}},

	{"exclusive is for one mailbox and one store",
		"One machine's update must not block another's.",
		func(w *world) {
			t := terms("s")
			t.Exclusive = true
			w.created(t)
			w.create(request(t, "runtime-2"))
			other := t
			other.Store = "s2"
			w.created(other)
		}},

	{"a timed-out request frees an exclusive mailbox",
		"A machine that never returns must not block its mailbox for ever.",
		func(w *world) {
			t := terms("s")
			t.Exclusive, t.PendingTimeout = true, w.short
			first := w.created(t)
			w.untilStatus("s", first.ID, backends.StatusTimeout)
			w.created(t)
		}},

	{"exclusive outlasts the pending timeout of a running request",
		"A marker that expires with the first deadline lets a second update start.",
		func(w *world) {
			t := terms("s")
			t.Exclusive, t.PendingTimeout, t.Retention = true, w.short, time.Millisecond
			first := w.created(t)
			running := w.popInTime(t, first.Deadline)
			w.pass(2 * w.short)
			w.wantBusy(t, first.ID)

			shorter := t
			shorter.RunningTimeout = w.short
			earliest := w.clock().Add(w.short)
			w.extend(shorter, first.ID)
			w.extendInTime(t, first.ID, earliest)
			w.pass(2 * w.short)
			w.wantBusy(t, first.ID)
			w.end(completion(t, running))
		}},

	{"a full mailbox refuses and stores nothing",
		"A machine that is away must not fill the store.",
		func(w *world) {
			t := terms("s")
			t.MaxPending = 3
			for range 3 {
				w.created(t)
			}
			_ = w.wantRefused(t, backends.ErrFull)
			w.create(request(t, "runtime-2"))
		}},

	{"a full mailbox counts only claimable requests",
		"A mailbox of running, ended or timed-out requests is not full.",
		func(w *world) {
			t := terms("s")
			t.MaxPending = 2
			brief := t
			brief.PendingTimeout = w.short
			lost := w.created(brief)
			w.untilStatus("s", lost.ID, backends.StatusTimeout)
			w.created(w.retried(2))
			late := w.popOne(w.retried(2))
			w.untilStatus("s", late.ID, backends.StatusPending)
			w.end(completion(t, late))
			w.created(t)
			withdrawn := w.popOne(withAttempts(2))
			w.cancel(cancelled(t, withdrawn, w.short))
			w.untilStatus("s", withdrawn.ID, backends.StatusCancelled)
			w.created(t)
			ended := w.created(t)
			w.end(completion(t, ended))
			w.created(t)
			w.pop(t, 1)
			w.created(t)
			_ = w.wantRefused(t, backends.ErrFull)
		}},

	{"a mailbox that is busy and full is busy",
		"The error names the running request, and the caller can wait for it.",
		func(w *world) {
			t := exclusive()
			t.MaxPending = 1
			w.wantBusy(t, w.created(t).ID)
		}},

	{"64 callers never overfill a mailbox or share an exclusive one",
		"A limit must be checked and applied in one atomic step.",
		func(w *world) {
			capped, exclusive := terms("capped"), terms("exclusive")
			capped.MaxPending, exclusive.Exclusive = 5, true
			w.together(64, func(int) {
				_, err := w.b.Create(w.Context(), request(capped, box))
				w.allow(err, backends.ErrFull)
				_, err = w.b.Create(w.Context(), request(exclusive, box))
				w.allow(err, backends.ErrBusy)
			})
			if got := len(w.pop(capped, 100)); got != 5 {
				w.Errorf("%d requests were admitted, want 5", got)
			}
			if got := len(w.pop(exclusive, 100)); got != 1 {
				w.Errorf("%d exclusive requests were admitted, want 1", got)
			}
		}},
}

// wantBusy checks that box refuses another request because of the live request with this id.
func (w *world) wantBusy(t backends.Terms, live string) {
	w.Helper()
	err := w.wantRefused(t, backends.ErrBusy)
	var busy *backends.BusyError
	if !errors.As(err, &busy) || busy.ID != live {
		w.Fatalf("Create: got %v, want a BusyError with id %s", err, live)
	}
}

// wantRefused checks that box refuses another request with this error, and stores nothing.
func (w *world) wantRefused(t backends.Terms, want error) error {
	w.Helper()
	refused := request(t, box)
	_, refusal := w.b.Create(w.Context(), refused)
	if !errors.Is(refusal, want) {
		w.Fatalf("Create: got %v, want %v", refusal, want)
	}
	_, err := w.b.Get(w.Context(), t.Store, refused.ID)
	if !errors.Is(err, backends.ErrNotFound) {
		w.Fatalf("the refused request: got %v, want ErrNotFound", err)
	}
	return refusal
}

func checkNew(w *world, c backends.Create, got backends.Record) {
	w.Helper()
	deadline := got.CreatedAt.Add(c.PendingTimeout)
	want := backends.Record{ID: c.ID, Mailbox: c.Mailbox, Status: backends.StatusPending,
		Codec: c.Codec, Payload: c.Payload, Headers: c.Headers, CreatedAt: got.CreatedAt,
		UpdatedAt: got.CreatedAt, Deadline: deadline, LastDeadline: deadline}
	if got.CreatedAt.IsZero() {
		w.Error("CreatedAt is zero")
	}
	checkSame(w, got, want)
}

func checkSame(w *world, got, want backends.Record) {
	w.Helper()
	if g, want := show(got), show(want); g != want {
		w.Errorf("got  %s\nwant %s", g, want)
	}
}

// checkHead compares two records without payloads. Got must have no payload.
func checkHead(w *world, got, want backends.Record) {
	w.Helper()
	checkSame(w, got, withoutPayload(want))
}

func withoutPayload(r backends.Record) backends.Record {
	r.Codec, r.Payload = "", nil
	return r
}

// checkPayload compares the payloads of two records.
func checkPayload(w *world, got, want backends.Record) {
	w.Helper()
	if got.Codec != want.Codec || !bytes.Equal(got.Payload, want.Payload) {
		w.Errorf("got %q with %d bytes, want %q with %d and the same content",
			got.Codec, len(got.Payload), want.Codec, len(want.Payload))
	}
}

// show returns all fields of a record except ReadAt as text.
func show(r backends.Record) string {
	return fmt.Sprintf("%s in %q %s attempt %d error %q codec %q payload %s created %v updated %v "+
		"started %v deadline %v last %v cancelled as %q because %q headers %q",
		r.ID, r.Mailbox, r.Status, r.Attempt, r.Error, r.Codec, showPayload(r.Payload),
		r.CreatedAt, r.UpdatedAt, r.StartedAt, r.Deadline, r.LastDeadline,
		r.CancelledAs, r.CancelReason, r.Headers)
}

// showPayload returns a short payload, or the length and the hash of a long one, as text.
func showPayload(payload []byte) string {
	if len(payload) <= 100 {
		return fmt.Sprintf("%q", payload)
	}
	return fmt.Sprintf("of %d bytes with hash %x", len(payload), sha256.Sum256(payload))
}
