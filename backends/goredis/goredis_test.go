package goredis_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newBackend(t *testing.T, client redis.UniversalClient, opts *goredis.Options) *goredis.Backend {
	t.Helper()
	b, err := goredis.New(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformanceOnMiniredis(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		_, client := redistest.Mini(t)
		return newBackend(t, client, nil)
	}, backendtest.InBubble())
}

func TestConformanceOnRedis(t *testing.T) {
	client := redistest.Start(t).Client(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		return newBackend(t, client, &goredis.Options{Prefix: backends.NewID(t.Name()) + ":"})
	})
}

func TestConformanceWithAutoPipeline(t *testing.T) {
	server := redistest.Start(t)
	for name, mode := range map[string]goredis.AutoPipeline{
		"by load": goredis.AutoPipelineByLoad, "always": goredis.AutoPipelineAlways,
	} {
		t.Run(name, func(t *testing.T) {
			client := server.Client(t)
			backendtest.Run(t, func(t *testing.T) backends.Backend {
				return newBackend(t, client, &goredis.Options{Prefix: backends.NewID(t.Name()) + ":", AutoPipeline: mode})
			})
		})
	}
}
