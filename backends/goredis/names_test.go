package goredis_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/redistest"
)

// hostileNames look like parts of keys or replies.
var hostileNames = []string{"q/", "/q/", "r/", "}:s/r/", "{", "\n", "a\nb", "\x00", "0001 x/r/y\n",
	"-", ";", "%", "(", strings.Repeat("/", 512), strings.Repeat("ü", 256)}

// The names of mailboxes, stores, prefixes and claims are hostile, and a claim has 1 to 100 stores.
func TestClaimsOfManyStoresWithHostileNamesAgreeWithMemory(t *testing.T) {
	parallel(t)
	effort.Rapid()
	synctest.Test(t, func(t *testing.T) {
		mini, client := redistest.Mini(t)
		rapid.Check(inBubble{t}, func(rt *rapid.T) {
			mini.FlushAll()
			prefixes := []string{"", "/", "a/r/", "q/", "x:/c/", "1-"}
			prefix := rapid.SampledFrom(prefixes).Draw(rt, "prefix")
			other, err := goredis.New(client, &goredis.Options{Prefix: prefix})
			if err != nil {
				rt.Fatal(err)
			}
			both := []backends.Backend{memory.New(), other}
			mailbox := rapid.SampledFrom(hostileNames).Draw(rt, "mailbox")
			poll := manyStores(rt, mailbox)
			stores := rapid.SliceOfN(rapid.IntRange(0, len(poll.From)-1), 0, 30)
			for _, i := range stores.Draw(rt, "creates") {
				c := question(poll.From[i].Terms, mailbox)
				size := rapid.SampledFrom([]int{1, 5000}).Draw(rt, "size")
				c.Payload = bytes.Repeat([]byte("x"), size)
				for _, b := range both {
					if _, err := b.Create(t.Context(), c); err != nil {
						rt.Fatal(err)
					}
				}
				time.Sleep(time.Microsecond)
			}
			for _, call := range []string{"claim", "again", "another claim", "again"} {
				if call == "another claim" {
					poll.ID += "\nmore"
				}
				want, got := handedOut(t, both[0], poll), handedOut(t, both[1], poll)
				if got != want {
					rt.Fatalf("%s:\n got %s\nwant %s", call, got, want)
				}
				time.Sleep(time.Microsecond)
			}
		})
	})
}

// manyStores is a claim of 1 to 100 stores. Some names begin with another store's name.
func manyStores(rt *rapid.T, mailbox string) backends.Claim {
	c := heartbeat(mailbox, 1)
	c.ID = rapid.SampledFrom(hostileNames).Draw(rt, "claim")
	for i := range rapid.SampledFrom([]int{1, 2, 3, 5, 50, 100}).Draw(rt, "stores") {
		terms := lasting("s" + strings.Repeat(":", i%10) + strings.Repeat("r", i/10))
		terms.MaxAttempts = rapid.IntRange(1, 2).Draw(rt, "attempts")
		limit := rapid.SampledFrom([]int{1, 2, 100}).Draw(rt, "limit")
		c.From = append(c.From, backends.From{Terms: terms, Limit: limit})
	}
	return c
}

// handedOut is the result of a claim as a text.
func handedOut(t *testing.T, b backends.Backend, c backends.Claim) string {
	claimed, err := b.Claim(t.Context(), c)
	var text strings.Builder
	for i, from := range claimed {
		for _, rec := range from.Records {
			fmt.Fprintln(&text, c.From[i].Store, shape(rec, nil))
		}
		if len(from.Errs) > 0 {
			fmt.Fprintln(&text, from.Errs)
		}
	}
	return fmt.Sprint(text.String(), err)
}

func TestWaitersOfHostileMailboxesAreWoken(t *testing.T) {
	client := redistest.Client(t)
	for _, mailbox := range hostileNames {
		r := newRig(t, client)
		signal, stop := r.b.WatchMailbox(t.Context(), mailbox)
		made := r.create(lasting("s"), mailbox)
		<-signal
		stop()
		signal, stop = r.b.WatchRequest(t.Context(), made.ID)
		r.end(lasting("s"), r.claim(lasting("s"), mailbox, 1)[0])
		<-signal
		stop()
	}
}

// inBubble hides the methods of a test that rapid would call but that do not work in a bubble.
type inBubble struct{ rapid.TB }

// shape is a result as a text. It has only the last bytes of a payload.
func shape(rec backends.Record, err error) string {
	if errors.Is(err, backends.ErrBusy) {
		return "busy" // names any of the live requests
	}
	if err != nil {
		return err.Error()
	}
	payload := rec.Payload
	if len(payload) > 8 {
		payload = payload[len(payload)-8:]
	}
	text := fmt.Sprintf("%s %q %s %d %q %s %d %s %q %q %q at", rec.ID, rec.Mailbox, rec.Status,
		rec.Attempt, rec.Error, rec.Codec, len(rec.Payload), payload, rec.Headers, rec.CancelledAs,
		rec.CancelReason)
	for _, at := range []time.Time{rec.CreatedAt, rec.UpdatedAt, rec.StartedAt, rec.Deadline,
		rec.LastDeadline, rec.ReadAt} {
		text += " " + micros(at)
	}
	return text
}
