package backendtest

import (
	"slices"
	"strings"

	"github.com/pendingq/pendingq/backends"
)

// hostileMailboxes are names that would reach into others' keys if they were pasted into them.
var hostileMailboxes = []string{
	"}", "{", "{}", "{x}", "x}:{y", "x}", ":", "::", "a:q:b", "q", "*", "?", "[a]", "\\", "\x00", "a\x00", "a\x00b",
	" ", "  ", "a ", " a", "\n", "\r\n", "ü", "u\u0308", "\u202e", "\U0001F600", "\u2028", "%s", "'", "\"", "0", "-1",
	strings.Repeat("x", 511) + "y", strings.Repeat("x", 512), strings.Repeat("}", 512),
}

var isolationCases = []testCase{
	{"a mailbox reaches no other's requests, whatever its name",
		"Mailbox names come from outside; one that can reach into another's keys reads and takes its work.",
		func(w *world) {
			t := terms("s")
			made := make([]backends.Record, len(hostileMailboxes))
			for i, mailbox := range hostileMailboxes {
				if w.pending("s", mailbox) {
					w.Errorf("%q has something pending before it got anything", mailbox)
				}
				made[i] = w.create(request(t, mailbox))
			}
			for i, mailbox := range hostileMailboxes {
				c := poll(mailbox, t)
				c.From[0].Limit = 100
				got := w.claim(c)[0]
				if !slices.Equal(ids(got), []string{made[i].ID}) || got[0].Mailbox != mailbox {
					w.Errorf("%q got %v, want %s", mailbox, ids(got), made[i].ID)
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
					if rec := w.get("s", id); rec.Mailbox != mailbox || string(rec.Payload) != "answer "+id {
						w.Errorf("a mailbox of %d bytes reads as %q with payload %q", length, rec.Mailbox, rec.Payload)
					}
				}
			}
		}},

	{"a store and a mailbox are told apart where their names meet",
		"Names that are joined without care collide: a with b:c and a:b with c.",
		func(w *world) {
			pairs := [][2]string{{"a", "b:c"}, {"a:b", "c"}, {"a:q", "c"}, {"a", "q:c"}, {"a:r", "c"}, {"a.b", "c"}}
			for _, pair := range pairs {
				w.create(request(terms(pair[0]), pair[1]))
			}
			for _, pair := range pairs {
				c := poll(pair[1], terms(pair[0]))
				c.From[0].Limit = 100
				if got := w.claim(c)[0]; len(got) != 1 || got[0].Mailbox != pair[1] {
					w.Errorf("store %q, mailbox %q: got %v, want one request", pair[0], pair[1], ids(got))
				}
			}
		}},

	{"one id in two stores is two requests",
		"Stores share nothing, and an idempotency key is free to be the same in both.",
		func(w *world) {
			a, b := request(terms("a"), box), request(terms("b"), box)
			b.ID = a.ID
			w.create(a)
			made := w.create(b)
			w.end(completion(a.Terms, backends.Record{ID: a.ID}))
			checkSame(w, w.get("b", a.ID), made)
			if !w.pending("b", box) || w.pending("a", box) {
				w.Error("the end of a's request touched b's queue, or not its own")
			}
		}},

	{"payloads are copied in and out",
		"A caller that reuses its buffer, or changes what it got, must not change what is stored.",
		func(w *world) {
			t := terms("s")
			c := request(t, box)
			want := string(c.Payload)
			scribble := func(b []byte) { copy(b, "!!!!") }
			scribble(w.create(c).Payload)
			scribble(c.Payload)
			scribble(w.get("s", c.ID).Payload)
			scribble(w.popOne(t).Payload)
			if got := string(w.get("s", c.ID).Payload); got != want {
				w.Errorf("got %q, want %q", got, want)
			}
			e := completion(t, w.get("s", c.ID))
			want = string(e.Payload)
			w.end(e)
			scribble(e.Payload)
			if got := string(w.get("s", c.ID).Payload); got != want {
				w.Errorf("got %q, want %q", got, want)
			}
		}},
}
