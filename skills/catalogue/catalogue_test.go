package catalogue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/catalogue"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var entry = catalogue.Entry{At: time.Date(2026, 11, 26, 9, 0, 0, 123456000, time.UTC),
	Models: []skills.Model{{ID: "m", Label: "M", Default: true,
		ServiceTiers: []skills.ServiceTier{{ID: "t", Name: "T"}}}}}

// check puts, gets and drops entries. Now is the current time of the catalogue.
func check(t *testing.T, c skillshttp.Catalogue, now time.Time) {
	ctx := t.Context()
	want := entry
	want.At = now
	if got, err := c.Get(ctx, "laptop"); got != nil || err != nil {
		t.Errorf("an empty catalogue returns %v, %v", got, err)
	}
	for _, id := range []string{"laptop", "phone"} {
		if err := c.Put(ctx, id, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Get(ctx, "laptop")
	if diff := cmp.Diff(&want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := c.Drop(ctx, "laptop"); err != nil {
		t.Error(err)
	}
	if got, err := c.Get(ctx, "laptop"); got != nil || err != nil {
		t.Errorf("a dropped entry is %v, %v", got, err)
	}
	if got, err := c.Get(ctx, "phone"); got == nil || err != nil {
		t.Errorf("the entry of another runtime is %v, %v", got, err)
	}
}

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &catalogue.Memory{}
		check(t, c, time.Now().UTC())
		<-time.After(catalogue.Lifetime)
		if got, err := c.Get(t.Context(), "phone"); got != nil || err != nil {
			t.Errorf("an expired entry is %v, %v", got, err)
		}
	})
}

// A caller may change what it has put or got, at any depth.
func TestMemorySharesNothingWithItsCallers(t *testing.T) {
	made := func() catalogue.Entry {
		return catalogue.Entry{At: time.Now(), Models: []skills.Model{{ID: "m",
			ServiceTiers: []skills.ServiceTier{{ID: "t"}},
			Thinking:     &skills.Thinking{SupportedLevels: []skills.ThinkingLevel{{Value: "v"}}}}}}
	}
	spoil := func(e catalogue.Entry) {
		m := &e.Models[0]
		m.ServiceTiers[0].ID, m.Thinking.SupportedLevels[0].Value = "spoilt", "spoilt"
		m.ID, m.Thinking.DefaultLevel = "spoilt", "spoilt"
	}
	var c catalogue.Memory
	put, want := made(), made()
	want.At = put.At
	_ = c.Put(t.Context(), "laptop", put)
	spoil(put)
	for range 2 {
		got, _ := c.Get(t.Context(), "laptop")
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		spoil(*got)
	}
}

// The README's ACL grants these commands, and not DEL.
func TestARestrictedUserOfRedis(t *testing.T) {
	server := redistest.Start(t)
	err := server.Client(t).Do(t.Context(), "acl", "setuser", "restricted", "reset", "on",
		">secret", "~test:*", "+get", "+set").Err()
	if err != nil {
		t.Fatal(err)
	}
	client := server.ClientWith(t, redis.Options{Username: "restricted", Password: "secret"})
	check(t, catalogue.NewRedis(client, "test:"), entry.At)
}

func TestRedis(t *testing.T) {
	server, client := redistest.Mini(t)
	c := catalogue.NewRedis(client, "test:")
	check(t, c, entry.At)
	ttl := server.TTL("test:models:phone")
	if ttl > catalogue.Lifetime || ttl < catalogue.Lifetime-time.Minute {
		t.Errorf("the key expires after %v, want %v", ttl, catalogue.Lifetime)
	}
	server.Set("test:models:phone", "no JSON")
	if got, err := c.Get(t.Context(), "phone"); err == nil {
		t.Errorf("a damaged entry reads as %v", got)
	}
	server.Close()
	if err := c.Put(t.Context(), "phone", entry); err == nil {
		t.Error("Put succeeded although the server is away")
	}
}
