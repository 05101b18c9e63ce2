package skills_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const runtime = "5f0c7a86-4c1c-4f57-a1f5-0d5a9c3a5a11"

func newStores(t *testing.T, b backends.Backend) *skills.Stores {
	t.Helper()
	s, err := skills.New(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func overRedis(t *testing.T) (*skills.Stores, *redis.Client) {
	t.Helper()
	_, client := redistest.Mini(t)
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return newStores(t, b), client
}

// created fails the test unless a Create or Get worked.
func created[T any](t *testing.T) func(r *pending.Request[T], err error) *pending.Request[T] {
	return must[*pending.Request[T]](t)
}

// claimed fails the test unless a pop or Held worked.
func claimed[T any](t *testing.T) func(c *pending.Claim[T], err error) *pending.Claim[T] {
	return must[*pending.Claim[T]](t)
}

func must[V any](t *testing.T) func(v V, err error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func heartbeat(t *testing.T, s *skills.Stores, opts ...pending.PopOption) *skills.Work {
	t.Helper()
	work, err := s.Heartbeat(t.Context(), runtime, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return work
}

func TestPoliciesAreThoseOfTheOriginalStores(t *testing.T) {
	type policy = pending.Policy
	const m, s = time.Minute, time.Second
	for _, tc := range []struct{ got, want policy }{
		{skills.ListPolicy(), policy{Name: "local_skill:list", PendingTimeout: 3 * m, RunningTimeout: 60 * s, Retention: 5 * m, MaxPending: 100}},
		{skills.ImportPolicy(), policy{Name: "local_skill:import", PendingTimeout: 3 * m, RunningTimeout: 60 * s, Retention: 5 * m,
			MaxPending: 1000, MaxPayload: 64 << 20, Outcomes: []pending.Status{"conflict"}}},
		{skills.PingPolicy(), policy{Name: "ping", PendingTimeout: 60 * s, RunningTimeout: 60 * s, Retention: 2 * m, MaxPending: 100}},
		{skills.UpdatePolicy(), policy{Name: "update", PendingTimeout: 120 * s, RunningTimeout: 150 * s, Retention: 5 * m, Exclusive: true}},
		{skills.ModelListPolicy(), policy{Name: "model_list", PendingTimeout: 30 * s, RunningTimeout: 60 * s, Retention: 2 * m, MaxPending: 100}},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.want.Name, diff)
		}
	}
}

func TestAHeartbeatBringsWorkOfAllFiveStores(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) *skills.Stores{
		"memory": func(t *testing.T) *skills.Stores { return newStores(t, memory.New()) },
		"redis":  func(t *testing.T) *skills.Stores { s, _ := overRedis(t); return s },
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := open(t), t.Context()
			if work := heartbeat(t, s); !work.Empty() {
				t.Fatalf("an idle heartbeat brought %+v", work)
			}
			list := created[skills.List](t)(s.Lists.Create(ctx, runtime, skills.NewList()))
			ping := created[skills.Ping](t)(s.Pings.Create(ctx, runtime, skills.Ping{}))
			update := created[skills.Update](t)(s.Updates.Create(ctx, runtime, skills.Update{TargetVersion: "2", InitiatorID: "u"}))
			models := created[skills.ModelList](t)(s.ModelLists.Create(ctx, runtime, skills.NewModelList()))
			imports := map[string]bool{}
			for range 12 {
				imports[created[skills.Import](t)(s.Imports.Create(ctx, runtime, skills.Import{SkillKey: "k", CreatorID: "u"})).ID] = true
			}

			work := heartbeat(t, s)
			if work.List.ID != list.ID || work.Ping.ID != ping.ID || work.Update.ID != update.ID || work.ModelList.ID != models.ID {
				t.Errorf("got %+v", work)
			}
			if !work.List.Payload.Supported || work.Update.Payload.InitiatorID != "u" || work.Update.Payload.TargetVersion != "2" {
				t.Errorf("payloads: %+v, %+v", work.List.Payload, work.Update.Payload)
			}
			if len(work.Imports) != skills.MaxImports {
				t.Fatalf("got %d imports, want %d", len(work.Imports), skills.MaxImports)
			}
			for _, r := range append(work.Imports, heartbeat(t, s).Imports...) {
				if !imports[r.ID] || r.Payload.CreatorID != "u" {
					t.Errorf("import %s is unknown or twice, or lost its creator", r.ID)
				}
				delete(imports, r.ID)
			}
			if len(imports) > 0 {
				t.Errorf("%d imports never came", len(imports))
			}
		})
	}
}

func TestAHeartbeatsLimitsAndRepeats(t *testing.T) {
	s, _ := overRedis(t)
	ctx := t.Context()
	for range 3 {
		created[skills.Import](t)(s.Imports.Create(ctx, runtime, skills.Import{}))
		created[skills.Ping](t)(s.Pings.Create(ctx, runtime, skills.Ping{}))
	}
	old := []pending.PopOption{pending.WithLimit(s.Imports, 1), pending.WithLimit(s.Pings, 3), pending.WithClaimID("c")}
	first := heartbeat(t, s, old...)
	if len(first.Imports) != 1 {
		t.Errorf("a runtime that knows no batches got %d imports", len(first.Imports))
	}
	again := heartbeat(t, s, pending.WithClaimID("c"))
	if len(again.Imports) != 1 || again.Imports[0].ID != first.Imports[0].ID || again.Ping.ID != first.Ping.ID {
		t.Errorf("repeated, it got %+v, want %+v", again, first)
	}
	rest := heartbeat(t, s)
	if len(rest.Imports) != 2 || rest.Ping == nil || heartbeat(t, s).Ping == nil {
		t.Errorf("a limit that Work has no room for stranded pings: %+v", rest)
	}
}

func TestOneBrokenStoreCostsAHeartbeatOnlyItsPart(t *testing.T) {
	s, client := overRedis(t)
	ctx := t.Context()
	created[skills.Update](t)(s.Updates.Create(ctx, runtime, skills.Update{}))
	created[skills.Ping](t)(s.Pings.Create(ctx, runtime, skills.Ping{}))
	for _, key := range client.Keys(ctx, "*}:ping/q/*").Val() {
		client.Set(ctx, key, "not a queue", time.Hour)
	}
	work, err := s.Heartbeat(ctx, runtime)
	if err == nil || work == nil || work.Update == nil || work.Ping != nil {
		t.Errorf("got %+v with error %v, want the update and an error about ping", work, err)
	}
	work, err = s.Heartbeat(ctx, runtime)
	if err == nil || work == nil || !work.Empty() {
		t.Errorf("with nothing else to do: got %+v with error %v, "+
			"want empty work and an error about ping", work, err)
	}
}

func TestABrokenBackendFailsTheHeartbeat(t *testing.T) {
	s, _ := overRedis(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if work, err := s.Heartbeat(ctx, runtime); work != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", work, err)
	}
	if _, err := skills.New(nil); !errors.Is(err, pending.ErrInvalid) {
		t.Errorf("New(nil): got %v, want ErrInvalid", err)
	}
}

// counter counts what goes over the wire.
type counter struct{ trips atomic.Int64 }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.trips.Add(1)
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.trips.Add(1)
		return next(ctx, cmds)
	}
}

// takes returns what checks how many round trips over the client an operation takes.
func takes(t *testing.T, client redis.UniversalClient) func(want int64, what string, operation func() error) {
	count := &counter{}
	client.AddHook(count)
	return func(want int64, what string, operation func() error) {
		t.Helper()
		before := count.trips.Load()
		if err := operation(); err != nil && !errors.Is(err, pending.ErrNoPending) {
			t.Fatalf("%s: %v", what, err)
		}
		if trips := count.trips.Load() - before; trips != want {
			t.Errorf("%s: %d round trips, want %d", what, trips, want)
		}
	}
}

func TestEveryOperationIsOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := overRedis(t)
		ctx := t.Context()
		takes := takes(t, client)
		var r *pending.Request[skills.Ping]
		var c *pending.Claim[skills.Ping]
		create := func() (err error) { r, err = s.Pings.Create(ctx, runtime, skills.Ping{}); return err }
		hold := func() (err error) { c, err = s.Pings.Held(ctx, r.ID, 0); return err }
		pop := func() error { _, err := s.Pings.PopPending(ctx, runtime); return err }
		operations := map[string]func() error{
			"Get":             func() error { _, err := s.Pings.Get(ctx, r.ID); return err },
			"HasPending":      func() error { _, err := s.Pings.HasPending(ctx, runtime); return err },
			"PopPendingBatch": func() error { _, err := s.Pings.PopPendingBatch(ctx, runtime, 10); return err },
			"Heartbeat":       func() error { _, err := s.Heartbeat(ctx, runtime); return err },
			"PopPending":      pop,
		}
		complete := func() error { return s.Pings.Complete(ctx, c) }
		extend := func() error {
			if err := s.Pings.Extend(ctx, c); !errors.Is(err, pending.ErrStaleClaim) {
				return err
			}
			return nil
		}
		warm := []func() error{create, hold, extend, complete}
		for _, operation := range operations {
			warm = append(warm, operation)
		}
		for _, operation := range warm { // the first of each may have to send its script in full
			if err := operation(); err != nil && !errors.Is(err, pending.ErrNoPending) {
				t.Fatal(err)
			}
		}

		for name, operation := range operations {
			takes(1, name+" of an empty mailbox", operation)
			for range 20 {
				takes(1, "Create", create)
			}
			<-time.After(2 * time.Minute) // all of them time out
			takes(1, name+" behind stale requests", operation)
			for range 3 {
				takes(1, "Create", create)
			}
			takes(1, "Held", hold)
			takes(1, "Extend", extend)
			takes(1, name+" of a full mailbox", operation)
			takes(1, name+" again", operation)
		}
		takes(1, "Create", create)
		takes(1, "Held", hold)
		takes(1, "Complete", complete)
		takes(1, "Complete, repeated", complete)
		for range 3 {
			created[skills.Import](t)(s.Imports.Create(ctx, runtime, skills.Import{}))
			created[skills.List](t)(s.Lists.Create(ctx, runtime, skills.NewList()))
			created[skills.ModelList](t)(s.ModelLists.Create(ctx, runtime, skills.NewModelList()))
		}
		takes(1, "Heartbeat with work of several stores", operations["Heartbeat"])
	})
}

func TestOnlyToReadALargeAnswerTakesASecondRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := overRedis(t)
		ctx := t.Context()
		takes := takes(t, client)
		var c *pending.Claim[skills.Ping]
		ask := func() {
			t.Helper()
			created[skills.Ping](t)(s.Pings.Create(ctx, runtime, skills.Ping{}))
			c = claimed[skills.Ping](t)(s.Pings.PopPending(ctx, runtime))
			c.Payload.Output = strings.Repeat("out", 20_000)
		}
		complete := func() error { return s.Pings.Complete(ctx, c) }
		get := func() error {
			got, err := s.Pings.Get(ctx, c.ID)
			if err == nil && got.Payload.Output != c.Payload.Output {
				t.Errorf("got %d bytes of output, want %d",
					len(got.Payload.Output), len(c.Payload.Output))
			}
			return err
		}
		ask()
		for _, warm := range []func() error{complete, get} { // opens a connection for pipelines, and sends scripts in full
			if err := warm(); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		takes(1, "Complete", complete)
		takes(2, "Complete, repeated", complete) // reads what is stored, to compare
		takes(2, "Get", get)                     // one to find it, and one to read it past the scripts
	})
}

// Reminder is the payload of a store that this library has never heard of.
type Reminder struct {
	Text string
	Read bool
	User string `json:"-"`
}

func TestASixthStoreTakesAFewLines(t *testing.T) {
	for _, c := range []codec.Codec[Reminder]{codec.JSON[Reminder](), codec.Msgpack[Reminder]()} {
		// Ten lines from here:
		reminders, err := pending.New(memory.New(), c, pending.Policy{
			Name: "reminder", PendingTimeout: time.Hour, RunningTimeout: time.Minute, Retention: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		// A use of it:
		asked := created[Reminder](t)(reminders.Create(t.Context(), "phone-7", Reminder{Text: "tea", User: "ada"}))
		claim := claimed[Reminder](t)(reminders.PopPending(t.Context(), "phone-7"))
		claim.Payload.Read = true
		if err := reminders.Complete(t.Context(), claim); err != nil {
			t.Fatal(err)
		}
		got := created[Reminder](t)(reminders.Get(t.Context(), asked.ID))
		if want := (Reminder{"tea", true, "ada"}); got.Payload != want || got.Status != pending.StatusCompleted {
			t.Errorf("%s: got %s, %+v", c.Name(), got.Status, got.Payload)
		}
	}
}

func TestWorkIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores(t, memory.New())
		go func() {
			<-time.After(5 * time.Second)
			_, _ = s.Updates.Create(t.Context(), runtime, skills.Update{TargetVersion: "2"})
		}()
		start := time.Now()
		work, err := s.AwaitWork(t.Context(), runtime)
		if err != nil || work.Update == nil || time.Since(start) != 5*time.Second {
			t.Errorf("got %+v, %v after %v, want the update after 5s", work, err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if work, err := s.AwaitWork(ctx, runtime); work != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nothing to do: got %+v, %v", work, err)
		}
	})
}
