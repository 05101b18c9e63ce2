package matrix_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// storageShape returns all keys under a prefix, on all masters, each with its content and its time
// to live in minutes. So a comparison of two shapes also shows keys that belong to no request. A
// key without a time to live fails the test.
func storageShape(t *testing.T, client redis.UniversalClient, b backends.Backend,
	prefix string) string {
	t.Helper()
	var lines []string
	for _, key := range storedKeys(t, client, prefix) {
		ttl, err := client.PTTL(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if ttl < 0 {
			t.Errorf("%s has no time to live", key)
		}
		name := strings.TrimPrefix(key, prefix)
		if store, payload, ok := strings.Cut(name, "/p/"); ok {
			// A failed call may leave a payload without a record, which expires within 10 s. Other
			// payloads are in the shape of their record, and live as long.
			short, used := ttl <= 10*time.Second, isReferredTo(t, client, prefix, payload)
			if short != used {
				continue
			}
			name = fmt.Sprintf("%s/p/ of a record: %t", store, used)
		}
		lines = append(lines, fmt.Sprintf("%s for %v: %s", name, ttl.Round(time.Minute),
			keyShape(t, client, b, prefix, key)))
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// isReferredTo reports whether a record names this key of a payload.
func isReferredTo(t *testing.T, client redis.UniversalClient, prefix, name string) bool {
	t.Helper()
	return slices.ContainsFunc(storedKeys(t, client, prefix), func(key string) bool {
		isRecord := strings.Contains(key, "/r/")
		return isRecord && strings.HasSuffix(client.Get(t.Context(), key).Val(), name)
	})
}

// storedKeys returns the keys under a prefix on a server, or on all masters of a Cluster.
func storedKeys(t *testing.T, client redis.UniversalClient, prefix string) (found []string) {
	t.Helper()
	var mu sync.Mutex
	scan := func(ctx context.Context, server *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		keys := server.Scan(ctx, 0, prefix+"*", 1000).Iterator()
		for keys.Next(ctx) {
			found = append(found, keys.Val())
		}
		return keys.Err()
	}
	var err error
	switch c := client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(t.Context(), scan)
	case *redis.Client:
		err = scan(t.Context(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func keyShape(t *testing.T, client redis.UniversalClient, b backends.Backend, prefix,
	key string) string {
	t.Helper()
	_, after, _ := strings.Cut(key, "}:")
	parts := strings.SplitN(after, "/", 3)
	switch parts[1] {
	case "r":
		rec, err := b.Get(t.Context(), parts[0], parts[2])
		if err != nil {
			return err.Error()
		}
		return calls.RecordShape(rec)
	case "q":
		return fmt.Sprint(client.ZRange(t.Context(), key, 0, -1).Val())
	case "c":
		return startOfClaim.ReplaceAllString(strings.ReplaceAll(client.Get(t.Context(), key).Val(),
			prefix, ""), "*$1")
	}
	return client.Get(t.Context(), key).Val()
}

// startOfClaim matches the time in a line of a memo.
var startOfClaim = regexp.MustCompile(`(?m)^\d{16}(\d{4} )`)
