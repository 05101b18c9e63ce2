package machine_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestMachineOnFakeTime(t *testing.T) {
	effort.Rapid()
	backendtest.Machine(t, func(t *testing.T) backends.Backend {
		_, client := redistest.Mini(t)
		return open(t, client)
	}, backendtest.InBubble())
}

func TestMachineOnRedis(t *testing.T) {
	effort.Rapid()
	backendtest.Machine(t, func(t *testing.T) backends.Backend {
		return open(t, redistest.Start(t).Client(t))
	})
}

func open(t *testing.T, client redis.UniversalClient) backends.Backend {
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
