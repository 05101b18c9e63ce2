package remote_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
)

func TestConformanceOverMemory(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, func(t *testing.T) backends.Backend { return overHTTP(t, memory.New()) })
}

func TestConformanceOverRedis(t *testing.T) {
	t.Parallel()
	client := redistest.Client(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		prefix := "remote" + backends.NewID(t.Name()) + ":"
		node := func() backends.Backend {
			b, err := goredis.New(client, &goredis.Options{Prefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			return overHTTP(t, b)
		}
		return backendtest.Nodes(node(), node(), node())
	})
}

// A server goes by its own policies, and lets no client say otherwise. The suite gives each
// operation terms, outcomes and graces of its own. So the test hands these past the client and the
// server: in a header that only the backend below them understands.

const smuggled = "X-Smuggled"

// contraband is the part of a call that the transport passes to the handler outside the protocol.
type contraband struct {
	Terms   []backends.Terms
	Outcome string
	Grace   time.Duration
}

type contrabandKey struct{}

// smuggle hands contraband to the client's transport.
func smuggle(ctx context.Context, c contraband) context.Context {
	text, _ := json.Marshal(c)
	return context.WithValue(ctx, contrabandKey{}, string(text))
}

func (c contraband) of(store string) backends.Terms {
	for _, t := range c.Terms {
		if t.Store == store {
			return t
		}
	}
	return backends.Terms{Store: store}
}

// overHTTP returns a client of a server of a backend. The transport and the handler in between let
// contraband through.
func overHTTP(t *testing.T, b backends.Backend) backends.Backend {
	t.Helper()
	var stores []pending.Policy
	const names = "s a b c s2 capped clock empty exclusive full lasting other " +
		"none a:b a:q a:r a.b plain retried both"
	long := strings.Repeat("s", 63)
	for _, name := range append(strings.Fields(names), long+"a", long+"b") {
		p := policy(name)
		p.Outcomes = []pending.Status{"conflict", pending.Status(strings.Repeat("o", 32))}
		p.MaxPayload = 16 << 20
		p.MaxAttempts = 9999 // the server refuses a release of the last attempt; no backend does
		stores = append(stores, p)
	}
	server, err := remote.Handler(receiver{b}, remote.Config{Stores: stores, Access: everything{},
		Logger: quiet, MaxInFlight: 32 << 30})
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), contrabandKey{}, r.Header.Get(smuggled))
		server.ServeHTTP(w, r.WithContext(ctx))
	}))
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	t.Cleanup(transport.CloseIdleConnections)
	client := clientWith(t, url, &remote.Options{Token: "suite", Logger: quiet,
		HTTP: &http.Client{Transport: smuggler{transport}}})
	return sender{client}
}

type smuggler struct{ *http.Transport }

func (s smuggler) RoundTrip(r *http.Request) (*http.Response, error) {
	if text, ok := r.Context().Value(contrabandKey{}).(string); ok {
		r = r.Clone(r.Context())
		r.Header.Set(smuggled, text)
	}
	return s.Transport.RoundTrip(r)
}

// sender is the client's end.
type sender struct{ *remote.Client }

func (s sender) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	return s.Client.Create(smuggle(ctx, contraband{Terms: []backends.Terms{c.Terms}}), c)
}

func (s sender) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	return s.Client.Claim(smuggle(ctx, contraband{Terms: termsOf(c)}), c)
}

func (s sender) ClaimMany(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	var all contraband
	for _, c := range claims {
		all.Terms = append(all.Terms, termsOf(c)...)
	}
	return s.Client.ClaimMany(smuggle(ctx, all), claims)
}

func termsOf(c backends.Claim) (terms []backends.Terms) {
	for _, from := range c.From {
		terms = append(terms, from.Terms)
	}
	return terms
}

func (s sender) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	return s.Client.Extend(smuggle(ctx, contraband{Terms: []backends.Terms{x.Terms}}), x)
}

func (s sender) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	ctx = smuggle(ctx, contraband{[]backends.Terms{c.Terms}, c.Outcome, c.Grace})
	if c.Outcome != backends.StatusTimeout {
		c.Outcome = backends.StatusCancelled
	}
	return s.Client.Cancel(ctx, c)
}

func (s sender) End(ctx context.Context, e backends.End) (backends.Record, error) {
	ctx = smuggle(ctx, contraband{Terms: []backends.Terms{e.Terms}, Outcome: e.Outcome})
	if e.Outcome == backends.StatusTimeout {
		e.Outcome = backends.StatusFailed
	}
	return s.Client.End(ctx, e)
}

// receiver is the backend's end.
type receiver struct{ backends.Backend }

func (r receiver) Unwrap() backends.Backend { return r.Backend }

func received(ctx context.Context) (c contraband) {
	text, _ := ctx.Value(contrabandKey{}).(string)
	_ = json.Unmarshal([]byte(text), &c)
	return c
}

func (r receiver) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	c.Terms = received(ctx).of(c.Store)
	return r.Backend.Create(ctx, c)
}

func (r receiver) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	r.restore(ctx, &c)
	return r.Backend.Claim(ctx, c)
}

func (r receiver) restore(ctx context.Context, c *backends.Claim) {
	for i := range c.From {
		c.From[i].Terms = received(ctx).of(c.From[i].Store)
	}
}

func (r receiver) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	x.Terms = received(ctx).of(x.Store)
	return r.Backend.Extend(ctx, x)
}

func (r receiver) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	got := received(ctx)
	c.Terms, c.Outcome, c.Grace = got.of(c.Store), got.Outcome, got.Grace
	return r.Backend.Cancel(ctx, c)
}

func (r receiver) End(ctx context.Context, e backends.End) (backends.Record, error) {
	got := received(ctx)
	e.Terms, e.Outcome = got.of(e.Store), got.Outcome
	return r.Backend.End(ctx, e)
}
