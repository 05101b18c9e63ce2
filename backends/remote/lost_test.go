package remote_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/internal/redistest"
)

// cutter loses answers after the server has acted: it waits for a whole answer, and returns an
// error instead, or the first bytes of its body.
type cutter struct {
	http.RoundTripper
	mu   sync.Mutex
	lose int // so many more answers
	part bool
	lost int
}

var errCut = errors.New("the connection was cut")

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.lose == 0 {
		return resp, err
	}
	c.lose--
	c.lost++
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil && c.part {
		resp.Body = &cutBody{text[:len(text)/2]}
		return resp, nil
	}
	return nil, errCut
}

type cutBody struct{ text []byte }

func (b *cutBody) Read(p []byte) (int, error) {
	if len(b.text) == 0 {
		return 0, errCut
	}
	n := copy(p, b.text)
	b.text = b.text[n:]
	return n, nil
}

func (b *cutBody) Close() error { return nil }

// lossCase is an operation on a request of store s that runs at attempt 1, or on none.
type lossCase struct {
	name string
	do   func(context.Context, *remote.Client, backends.Record) (any, error)
}

var lossCases = []lossCase{
	{"create", func(ctx context.Context, c *remote.Client, rec backends.Record) (any, error) {
		create := question("s")
		create.ID = backends.DeriveID("s", box, "key of "+rec.ID)
		made, err := c.Create(ctx, create)
		return made.ID == create.ID && made.Status == backends.StatusPending, err
	}},
	{"get", func(ctx context.Context, c *remote.Client, rec backends.Record) (any, error) {
		got, err := c.Get(ctx, "s", rec.ID)
		return got.Status, err
	}},
	{"has pending", func(ctx context.Context, c *remote.Client, _ backends.Record) (any, error) {
		return c.HasPending(ctx, "s", box)
	}},
	{"claim", func(ctx context.Context, c *remote.Client, _ backends.Record) (any, error) {
		if _, err := c.Create(ctx, question("t")); err != nil {
			return nil, err
		}
		claimed, err := c.Claim(ctx, poll("s", "t"))
		return requests(claimed), err
	}},
	{"many claims", func(ctx context.Context, c *remote.Client, _ backends.Record) (any, error) {
		if _, err := c.Create(ctx, question("t")); err != nil {
			return nil, err
		}
		result := c.ClaimMany(ctx, []backends.Claim{poll("s", "t")})[0]
		return requests(result.Claimed), result.Err
	}},
	{"progress", func(ctx context.Context, c *remote.Client, rec backends.Record) (any, error) {
		lease, err := c.Extend(ctx, backends.Extend{Terms: terms("s"), ID: rec.ID, Attempt: 1,
			Codec: "json", Payload: []byte(`1`)})
		return lease.Deadline.After(rec.Deadline), err
	}},
	{"release", func(ctx context.Context, c *remote.Client, rec backends.Record) (any, error) {
		_, err := c.Extend(ctx, backends.Extend{Terms: terms("s"), ID: rec.ID, Attempt: 1,
			Release: true})
		return nil, err
	}},
	{"cancel", func(ctx context.Context, c *remote.Client, rec backends.Record) (any, error) {
		got, err := c.Cancel(ctx, backends.Cancel{Terms: terms("s"), ID: rec.ID,
			Outcome: backends.StatusCancelled, Error: "changed my mind"})
		return outcome(got, err)
	}},
	{"end", func(ctx context.Context, c *remote.Client, rec backends.Record) (any, error) {
		return outcome(c.End(ctx, completion("s", rec)))
	}},
	{"list", func(ctx context.Context, c *remote.Client, _ backends.Record) (any, error) {
		page, err := c.List(ctx, "s", box, "", 100)
		return len(page.Records), err
	}},
	{"mailboxes", func(ctx context.Context, c *remote.Client, _ backends.Record) (any, error) {
		found := 0
		for after, page := "", (backends.MailboxPage{Next: " "}); page.Next != ""; after = page.Next {
			var err error
			if page, err = c.Mailboxes(ctx, "s", after, 1000); err != nil {
				return nil, err
			}
			found += len(page.Mailboxes)
		}
		return found, nil
	}},
}

func requests(claimed []backends.Claimed) (n []int) {
	for _, c := range claimed {
		n = append(n, len(c.Records))
	}
	return n
}

// outcome treats an EndedError with the own outcome as package pending does: as the own success.
func outcome(rec backends.Record, err error) (any, error) {
	var ended *backends.EndedError
	if errors.As(err, &ended) {
		rec, err = ended.Record, nil
	}
	return rec.Status + " " + rec.Error, err
}

// TestALostAnswerIsHarmless runs each operation without a loss, and with one to three answers lost
// whole or in part. The outcome and what is stored are the same.
func TestALostAnswerIsHarmless(t *testing.T) {
	client := redistest.Client(t)
	for name, open := range map[string]func(*testing.T) backends.Backend{
		"memory": func(*testing.T) backends.Backend { return memory.New() },
		"redis": func(t *testing.T) backends.Backend {
			b, err := goredis.New(client, &goredis.Options{Prefix: "lost" + backends.NewID("") + ":"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			return b
		},
	} {
		for _, c := range lossCases {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				want := c.run(t, open(t), &cutter{})
				for _, cut := range []*cutter{{lose: 1}, {lose: 3}, {lose: 1, part: true}} {
					if diff := cmp.Diff(want, c.run(t, open(t), cut)); diff != "" {
						t.Errorf("%d answers lost, in part: %v: %s", cut.lost, cut.part, diff)
					}
				}
			})
		}
	}
}

// traces are what an operation leaves behind.
type traces struct {
	Outcome any
	Status  string
	Attempt int
	Payload string
	Waiting []int // what further claims of s get, one after the other
}

func (c lossCase) run(t *testing.T, b backends.Backend, cut *cutter) traces {
	t.Helper()
	lose := cut.lose
	cut.lose = 0
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	cut.RoundTripper = transport
	r := newRig(t, b, func(c *remote.Config) { c.Stores[0].MaxAttempts = 2 })
	calm := r.client
	rec := r.running()
	r.create()
	cutting := clientWith(t, r.url, &remote.Options{Token: "t", Logger: quiet,
		HTTP: &http.Client{Transport: cut}})
	cut.lose = lose
	got, err := c.do(t.Context(), cutting, rec)
	if err != nil || cut.lose > 0 && c.name != "mailboxes" {
		t.Errorf("%s: %v; %d answers were not lost", c.name, err, cut.lose)
	}
	after, err := calm.Get(t.Context(), "s", rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	left := traces{Outcome: got, Status: after.Status, Attempt: after.Attempt,
		Payload: string(after.Payload)}
	for n := 1; n > 0; left.Waiting = append(left.Waiting, n) {
		claimed, err := calm.Claim(t.Context(), poll("s"))
		if err != nil {
			t.Fatal(err)
		}
		n = len(claimed[0].Records)
	}
	return left
}
