package cutproxy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/proof/cutproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect returns a client of a server behind a proxy. It sends each command once.
func connect(t *testing.T) (*redis.Client, *cutproxy.Proxy) {
	server := redistest.Start(t)
	proxy := cutproxy.New()
	t.Cleanup(proxy.Close)
	return server.ClientWith(t, redis.Options{Dialer: proxy.Dial, MaxRetries: -1}), proxy
}

func named(name string) cutproxy.Rule {
	return func(command [][]byte, _ []byte) bool { return cutproxy.Name(command) == name }
}

func TestACutCommandHasBeenExecuted(t *testing.T) {
	client, proxy := connect(t)
	proxy.Cut(2, named("INCR"))
	for range 2 {
		if err := client.Incr(t.Context(), "n").Err(); err == nil {
			t.Error("INCR was answered, want its reply lost")
		}
	}
	if n, err := client.Incr(t.Context(), "n").Result(); n != 3 || err != nil {
		t.Errorf("the third INCR: got %d, %v, want 3", n, err)
	}
	if proxy.Cuts() != 2 || proxy.Left() != 0 {
		t.Errorf("%d cuts and %d left, want 2 and 0", proxy.Cuts(), proxy.Left())
	}
}

func TestARuleLosesOneReplyOfAPipeline(t *testing.T) {
	client, proxy := connect(t)
	proxy.Cut(1, named("DECR"))
	pipe := client.Pipeline()
	pipe.Incr(t.Context(), "a")
	pipe.Decr(t.Context(), "b")
	pipe.Incr(t.Context(), "c")
	if _, err := pipe.Exec(t.Context()); err == nil {
		t.Error("the pipeline has no error")
	}
	got, err := client.MGet(t.Context(), "a", "b", "c").Result()
	if err != nil || got[0] != "1" || got[1] != "-1" || got[2] != "1" {
		t.Errorf("got %v, %v, want all three executed", got, err)
	}
}

func TestEveryKindOfReplyPasses(t *testing.T) {
	client, _ := connect(t)
	large := strings.Repeat("x\r\n", 100_000)
	if err := client.Set(t.Context(), "k", large, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get(t.Context(), "k").Result(); got != large || err != nil {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if err := client.Get(t.Context(), "none").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("got %v, want redis.Nil", err)
	}
	if err := client.Do(t.Context(), "nonsense").Err(); err == nil {
		t.Error("nonsense has no error")
	}
	config, err := client.ConfigGet(t.Context(), "maxmemory*").Result()
	if len(config) == 0 || err != nil {
		t.Errorf("a map: got %v, %v", config, err)
	}
	nested, err := client.Eval(t.Context(), "return {1, {2, {'three'}}, false}", nil).Slice()
	if err != nil || len(nested) != 3 {
		t.Errorf("nested: got %v, %v", nested, err)
	}
	channel := client.Subscribe(t.Context(), "channel")
	defer channel.Close()
	if _, err := channel.Receive(t.Context()); err != nil {
		t.Errorf("subscribe: %v", err)
	}
}
