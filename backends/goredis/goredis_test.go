package goredis_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestMain(m *testing.M) {
	effort.Parallel(1000) // they take slots
	goleak.VerifyTestMain(m)
}

func newBackend(
	t *testing.T, client redis.UniversalClient, opts *goredis.Options) *goredis.Backend {
	t.Helper()
	b, err := goredis.New(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// newPrefix returns a new prefix, since the server may also have the keys of other tests.
func newPrefix(t *testing.T) string { return "pendingq-test:" + backends.NewID(t.Name()) + ":" }

func TestConformanceOnMiniredis(t *testing.T) {
	parallel(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		_, client := redistest.Mini(t)
		return newBackend(t, client, nil)
	}, backendtest.InBubble())
}

func TestConformanceOnRedis(t *testing.T) {
	parallel(t)
	client := redistest.Client(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		opts := &goredis.Options{Prefix: newPrefix(t)}
		return backendtest.Nodes(newBackend(t, client, opts), newBackend(t, client, opts),
			newBackend(t, client, opts))
	})
}

func TestConformanceWithAutoPipeline(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]goredis.AutoPipeline{
		"by load": goredis.AutoPipelineByLoad, "always": goredis.AutoPipelineAlways,
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			client := redistest.Client(t)
			backendtest.Run(t, func(t *testing.T) backends.Backend {
				opts := &goredis.Options{Prefix: newPrefix(t), AutoPipeline: mode}
				return newBackend(t, client, opts)
			})
		})
	}
}
