package backendtest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/pendingq/pendingq/backends"
)

// hostileMailboxes are names that change the meaning of keys and queries without escaping.
var hostileMailboxes = []string{
	"}", "{", "{}", "{x}", "x}:{y", "x}", ":", "::", "a:q:b", "q", "*", "?", "[a]", "\\",
	"\x00", "a\x00", "a\x00b", " ", "  ", "a ", " a", "\n", "\r\n", "a", "A",
	"ü", "Ü", "u\u0308", "\u202e", "\U0001F600", "\u2028", "%s", "'", "\"", "0", "-1",
	strings.Repeat("x", 511) + "y", strings.Repeat("x", 512), strings.Repeat("}", 512),
}

var isolationCases = []testCase{
	{"a mailbox gets no request of another mailbox, whatever its name",
		"Users choose mailbox names. A name must not give access to another mailbox's requests.",
		func(w *world) {
			t := terms("s")
			made := make([]backends.Record, len(hostileMailboxes))
			for i, mailbox := range hostileMailboxes {
				if w.pending("s", mailbox) {
					w.Errorf("%q has a request before any was created", mailbox)
				}
				made[i] = w.create(request(t, mailbox))
			}
			for i, mailbox := range hostileMailboxes {
				c := poll(mailbox, t)
				c.From[0].Limit = 100
				got := w.claim(c)[0]
				if !slices.Equal(ids(got), []string{made[i].ID}) || got[0].Mailbox != mailbox {
					w.Fatalf("%q got %v, want %s", mailbox, ids(got), made[i].ID)
				}
				w.end(completion(t, got[0]))
			}
		}},

	{"a mailbox may have any length",
		"A backend that stores lengths must read them as it wrote them.",
		func(w *world) {
			t := terms("s")
			for _, length := range []int{1, 7, 8, 9, 10, 36, 64, 77, 99, 100, 255, 512} {
				mailbox := strings.Repeat("m", length)
				unclaimed := w.create(request(t, mailbox))
				w.end(completion(t, unclaimed))
				made := w.create(request(t, mailbox))
				got := w.claim(poll(mailbox, t))[0]
				if !slices.Equal(ids(got), []string{made.ID}) {
					w.Fatalf("a mailbox of %d bytes got %v, want %s", length, ids(got), made.ID)
				}
				w.end(completion(t, got[0]))
				for _, id := range []string{unclaimed.ID, made.ID} {
					rec := w.get("s", id)
					if rec.Mailbox != mailbox || string(rec.Payload) != "answer "+id {
						w.Errorf("a mailbox of %d bytes reads as %q with payload %q",
							length, rec.Mailbox, rec.Payload)
					}
				}
			}
		}},

	{"store and mailbox names that join to one text stay apart",
		"Names that are joined without escaping collide: a with b:c, and a:b with c.",
		func(w *world) {
			pairs := [][2]string{
				{"a", "b:c"}, {"a:b", "c"}, {"a:q", "c"}, {"a", "q:c"}, {"a:r", "c"}, {"a.b", "c"}}
			for _, pair := range pairs {
				w.create(request(terms(pair[0]), pair[1]))
			}
			for _, pair := range pairs {
				c := poll(pair[1], terms(pair[0]))
				c.From[0].Limit = 100
				if got := w.claim(c)[0]; len(got) != 1 || got[0].Mailbox != pair[1] {
					w.Errorf("store %q, mailbox %q: got %v, want one request",
						pair[0], pair[1], ids(got))
				}
			}
		}},

	{"one id in two stores is two requests",
		"Stores share nothing, so both may use the same idempotency key.",
		func(w *world) {
			a, b := request(terms("a"), box), request(terms("b"), box)
			b.ID = a.ID
			w.create(a)
			made := w.create(b)
			w.end(completion(a.Terms, backends.Record{ID: a.ID}))
			checkSame(w, w.get("b", a.ID), made)
			if !w.pending("b", box) || w.pending("a", box) {
				w.Error("the end of a's request changed b's queue, or left a's queue as it was")
			}
		}},

	{"payloads and headers are copied in and out",
		"A caller that changes its buffer or a result must not change the stored record.",
		func(w *world) {
			t := terms("s")
			c := request(t, box)
			made := w.create(c)
			want := made
			want.Payload, want.Headers = bytes.Clone(c.Payload), maps.Clone(c.Headers)
			check := func(what string, got backends.Record) {
				w.Helper()
				scribble(got)
				rec := w.get("s", c.ID)
				if !bytes.Equal(rec.Payload, want.Payload) {
					w.Errorf("changing %s changed the stored payload to %q", what, rec.Payload)
				}
				if !maps.Equal(rec.Headers, want.Headers) {
					w.Errorf("changing %s changed the stored headers to %q", what, rec.Headers)
				}
			}
			check("the result of Create", made)
			check("the argument of Create", backends.Record{Payload: c.Payload, Headers: c.Headers})
			check("the result of a repeated Create", w.create(c))
			check("the result of Get", w.get("s", c.ID))
			p := poll(box, t)
			check("the result of Claim", w.claim(p)[0][0])
			check("the result of a repeated Claim", w.claim(p)[0][0])

			x := backends.Extend{Terms: t, ID: c.ID, Attempt: 1,
				Codec: "raw", Payload: []byte("progress")}
			want.Payload = bytes.Clone(x.Payload)
			w.renew(x)
			check("the argument of Extend", backends.Record{Payload: x.Payload})
			check("the result of Cancel", w.cancel(cancelled(t, want, long)))

			e := completion(t, w.get("s", c.ID))
			want.Payload = bytes.Clone(e.Payload)
			ended := w.end(e)
			check("the result of End", ended)
			check("the argument of End", backends.Record{Payload: e.Payload})
			_, err := w.b.End(w.Context(), e)
			check("the error of a repeated End", w.endedRecord(err))
			_, err = w.b.Cancel(w.Context(), giveUp(t, want))
			check("the error of a late Cancel", w.endedRecord(err))
			_, err = w.b.Extend(w.Context(), x)
			check("the error of a late Extend", w.endedRecord(err))
		}},
}

// scribble overwrites the payload and the headers of a record.
func scribble(rec backends.Record) {
	copy(rec.Payload, "!!!!")
	for name := range rec.Headers {
		rec.Headers[name] = "!!!!"
	}
	if rec.Headers != nil {
		rec.Headers["another"] = "!!!!"
	}
}

// endedRecord returns the record of an EndedError.
func (w *world) endedRecord(err error) backends.Record {
	w.Helper()
	var ended *backends.EndedError
	if !errors.As(err, &ended) {
		w.Fatalf("got %v, want an EndedError", err)
	}
	return ended.Record
}
