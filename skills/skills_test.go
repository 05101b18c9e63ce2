package skills_test

import (
	"context"
	"errors"
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

// claimed fails the test unless a pop worked.
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
		{skills.ListPolicy(), policy{
			Name: "local_skill:list", PendingTimeout: 3 * m, RunningTimeout: 60 * s,
			Retention: 5 * m, MaxPending: 100,
		}},
		{skills.ImportPolicy(), policy{
			Name: "local_skill:import", PendingTimeout: 3 * m, RunningTimeout: 60 * s,
			Retention: 5 * m, MaxPending: 1000, MaxPayload: 64 << 20,
			Outcomes: []pending.Status{"conflict"},
		}},
		{skills.PingPolicy(), policy{
			Name: "ping", PendingTimeout: 60 * s, RunningTimeout: 60 * s,
			Retention: 2 * m, MaxPending: 100,
		}},
		{skills.UpdatePolicy(), policy{
			Name: "update", PendingTimeout: 120 * s, RunningTimeout: 150 * s,
			Retention: 5 * m, Exclusive: true,
		}},
		{skills.ModelListPolicy(), policy{
			Name: "model_list", PendingTimeout: 30 * s, RunningTimeout: 60 * s,
			Retention: 2 * m, MaxPending: 100,
		}},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.want.Name, diff)
		}
	}
}

// askImports creates n imports and returns their ids.
func askImports(t *testing.T, s *skills.Stores, n int) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for range n {
		asked := created[skills.Import](t)(s.Imports.Create(t.Context(), runtime,
			skills.Import{SkillKey: "k", CreatorID: "u"}))
		ids[asked.ID] = true
	}
	return ids
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
			update := created[skills.Update](t)(s.Updates.Create(ctx, runtime,
				skills.Update{TargetVersion: "2", InitiatorID: "u"}))
			models := created[skills.ModelList](t)(
				s.ModelLists.Create(ctx, runtime, skills.NewModelList()))
			imports := askImports(t, s, 12)

			work := heartbeat(t, s)
			if work.List.ID != list.ID || work.Ping.ID != ping.ID ||
				work.Update.ID != update.ID || work.ModelList.ID != models.ID {
				t.Errorf("got %+v", work)
			}
			if !work.List.Payload.Supported {
				t.Errorf("the list's payload: %+v", work.List.Payload)
			}
			if p := work.Update.Payload; p.InitiatorID != "u" || p.TargetVersion != "2" {
				t.Errorf("the update's payload: %+v", p)
			}
			if len(work.Imports) != skills.MaxImports {
				t.Fatalf("got %d imports, want %d", len(work.Imports), skills.MaxImports)
			}
			for _, r := range append(work.Imports, heartbeat(t, s).Imports...) {
				if !imports[r.ID] || r.Payload.CreatorID != "u" {
					t.Errorf("import %s is unknown, came twice or lost its creator", r.ID)
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
	first := heartbeat(t, s, pending.WithLimit(s.Imports, 1), pending.WithLimit(s.Pings, 3),
		pending.WithClaimID("c"))
	if len(first.Imports) != 1 {
		t.Errorf("a heartbeat with a limit of 1 got %d imports", len(first.Imports))
	}
	again := heartbeat(t, s, pending.WithClaimID("c"))
	if len(again.Imports) != 1 || again.Imports[0].ID != first.Imports[0].ID ||
		again.Ping.ID != first.Ping.ID {
		t.Errorf("the repeated heartbeat got %+v, want %+v", again, first)
	}
	rest := heartbeat(t, s)
	if len(rest.Imports) != 2 || rest.Ping == nil || heartbeat(t, s).Ping == nil {
		t.Errorf("a limit of 3 pings stranded the others, since Work has room for one: %+v", rest)
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

// Reminder is the payload of a store that an application adds.
type Reminder struct {
	Text string
	Read bool
	User string `json:"-"`
}

func TestASixthStoreTakesAFewLines(t *testing.T) {
	for _, c := range []codec.Codec[Reminder]{codec.JSON[Reminder](), codec.Msgpack[Reminder]()} {
		// The next ten lines make the store:
		reminders, err := pending.New(memory.New(), c, pending.Policy{
			Name: "reminder", PendingTimeout: time.Hour, RunningTimeout: time.Minute,
			Retention: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		// The next lines use it:
		asked := created[Reminder](t)(reminders.Create(t.Context(), "phone-7",
			Reminder{Text: "tea", User: "ada"}))
		claim := claimed[Reminder](t)(reminders.PopPending(t.Context(), "phone-7"))
		claim.Payload.Read = true
		if err := reminders.Complete(t.Context(), claim); err != nil {
			t.Fatal(err)
		}
		got := created[Reminder](t)(reminders.Get(t.Context(), asked.ID))
		want := Reminder{"tea", true, "ada"}
		if got.Payload != want || got.Status != pending.StatusCompleted {
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
		work, err = s.AwaitWork(ctx, runtime)
		if work != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nothing to do: got %+v, %v", work, err)
		}
	})
}
