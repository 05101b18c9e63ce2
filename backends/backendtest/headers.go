package backendtest

import (
	"errors"
	"maps"
	"strings"

	"github.com/pendingq/pendingq/backends"
)

// withHeaders returns the Create of a new request to box, with headers.
func withHeaders(t backends.Terms, headers map[string]string) backends.Create {
	c := request(t, box)
	c.Headers = headers
	return c
}

// trace returns the headers of a tracer.
func trace() map[string]string {
	return map[string]string{"traceparent": "00-4bf92f-00f067-01", "tracestate": "a=1"}
}

// oddHeaders returns headers whose names and values are ambiguous when joined without escaping.
func oddHeaders() map[string]string {
	return map[string]string{
		"": "a header without a name", "empty": "", "a\x00b": "\x00", "=": ";", ";": "=", ",": ":",
		"\n": "\r\n", " ": "  ", "\"": "'\\", "{}": "[]", "ü": "u\u0308", "\u2028": "\u202e",
		"\U0001F600": "\uFFFD", "0": "-1", "%s": "*", "long": strings.Repeat("ü", 1000),
	}
}

// largeHeaders returns 64 headers of 4 KiB in total.
func largeHeaders() map[string]string {
	headers := map[string]string{}
	for i := range 64 {
		headers[string(rune('0'+i))] = strings.Repeat("x", 63)
	}
	return headers
}

// checkHeaders compares a record's headers. Without headers the map may be nil or empty.
func (w *world) checkHeaders(when string, got backends.Record, want map[string]string) {
	w.Helper()
	if !maps.Equal(got.Headers, want) {
		w.Errorf("%s: got the headers %q, want %q", when, got.Headers, want)
	}
}

// headerCases are about the headers of a request. Most other cases compare headers, too.
var headerCases = []testCase{
	{"headers of any kind are kept byte for byte",
		"A tracer chooses names and values, and an engine may join them to one text.",
		func(w *world) {
			for _, want := range []map[string]string{
				nil, {}, {"a": ""}, {"": ""}, trace(), oddHeaders(), largeHeaders(),
			} {
				for _, size := range []int{0, 10, 100_000} {
					c := withHeaders(terms("s"), want)
					c.Payload = make([]byte, size)
					w.checkHeaders("created", w.create(c), want)
					got := w.get("s", c.ID)
					w.checkHeaders("read", got, want)
					if len(got.Payload) != size {
						w.Errorf("headers %q: got a payload of %d bytes, want %d",
							want, len(got.Payload), size)
					}
				}
			}
		}},

	{"every record of a request has its headers",
		"A worker continues the requester's trace, and a decorator links all operations to it.",
		func(w *world) {
			t := withAttempts(3)
			for _, want := range []map[string]string{nil, trace()} {
				c := withHeaders(t, want)
				w.create(c)
				stored := func(when string) {
					w.Helper()
					w.checkHeaders(when+", then read", w.get("s", c.ID), want)
					again := c
					again.Headers = map[string]string{"another": "request"}
					w.checkHeaders(when+", then created again", w.create(again), want)
				}
				stored("created")
				p := poll(box, t)
				running := w.claim(p)[0][0]
				w.checkHeaders("claimed", running, want)
				w.checkHeaders("claimed by a repeat", w.claim(p)[0][0], want)
				stored("claimed")
				w.extend(t, c.ID)
				stored("extended")
				w.renew(backends.Extend{Terms: t, ID: c.ID, Attempt: 1, Mailbox: box,
					Codec: "raw", Payload: []byte("progress")})
				stored("extended with progress")
				w.release(t, running, 0)
				stored("released")
				running = w.popOne(t)
				w.checkHeaders("claimed again", running, want)
				w.checkHeaders("noted", w.cancel(cancelled(t, running, long)), want)
				stored("noted")
				w.checkHeaders("ended", w.end(completion(t, running)), want)
				stored("ended")
			}
		}},

	{"a request that ends by itself or by its requester has its headers",
		"A front end that reads the outcome finds the trace in the record.",
		func(w *world) {
			t, brief := terms("s"), w.retried(1)
			c := withHeaders(t, trace())
			w.create(c)
			w.checkHeaders("cancelled", w.cancel(giveUp(t, w.get("s", c.ID))), trace())
			w.checkHeaders("cancelled, then read", w.get("s", c.ID), trace())

			c = withHeaders(t, trace())
			w.create(c)
			w.popOne(brief)
			got := w.untilStatus("s", c.ID, backends.StatusTimeout)
			w.checkHeaders("timed out", got, trace())

			c = withHeaders(t, trace())
			w.create(c)
			w.cancel(cancelled(t, w.popOne(t), w.short))
			got = w.untilStatus("s", c.ID, backends.StatusCancelled)
			w.checkHeaders("cancelled after the grace", got, trace())
		}},

	{"an EndedError's record has its headers",
		"The caller of a refused operation sees the same record as a reader.",
		func(w *world) {
			t := terms("s")
			c := withHeaders(t, trace())
			w.create(c)
			e := completion(t, w.popOne(t))
			w.end(e)
			_, endErr := w.b.End(w.Context(), e)
			_, extendErr := w.b.Extend(w.Context(), extension(t, c.ID, 1))
			_, cancelErr := w.b.Cancel(w.Context(), giveUp(t, w.get("s", c.ID)))
			for what, err := range map[string]error{
				"End": endErr, "Extend": extendErr, "Cancel": cancelErr} {
				var ended *backends.EndedError
				if !errors.As(err, &ended) {
					w.Fatalf("%s: got %v, want an EndedError", what, err)
				}
				w.checkHeaders(what, ended.Record, trace())
			}
		}},
}
