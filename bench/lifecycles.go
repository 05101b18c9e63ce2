package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends/goredis"
)

// Callers are the numbers of callers that lifecycles over Redis are compared at.
var Callers = []int{1, 8, 64, 512}

// LifecycleSides are what lifecycles over Redis are compared between.
var LifecycleSides = []string{"original", "original-gathered", "floor", "floor-gathered",
	"pendingq", "pendingq-held", "pendingq-plain", "pendingq-gathered"}

// NewSide returns one of LifecycleSides. The client must be its own: a client has one
// autopipeliner.
func NewSide(client *redis.Client, side string) (Stack, error) {
	switch side {
	case "original":
		return NewOriginal(client), nil
	case "original-gathered":
		commands, err := gathering(client)
		return NewOriginal(commands), err
	case "floor":
		return NewFloor(client), nil
	case "floor-gathered":
		commands, err := gathering(client)
		return NewFloor(commands), err
	case "pendingq":
		return NewRedis(client, nil)
	case "pendingq-held":
		stack, err := NewRedis(client, nil)
		if err != nil {
			return nil, err
		}
		return Held(stack), nil
	case "pendingq-plain":
		return NewRedis(client, &goredis.Options{AutoPipeline: goredis.AutoPipelineNever})
	case "pendingq-gathered":
		return NewRedis(client, &goredis.Options{AutoPipeline: goredis.AutoPipelineAlways})
	}
	return nil, fmt.Errorf("no side is called %q", side)
}

// Lifecycles compares lifecycles over Redis at so many callers.
func (s *Suite) Lifecycles(ctx context.Context, callers int) (Runs, error) {
	n := s.Each
	if callers < 64 {
		n /= 4
	}
	return s.lifecycles(ctx, s.Addr, LifecycleSides, callers, n)
}

// NetworkCallers are the numbers of callers that lifecycles over a network are compared at.
var NetworkCallers = []int{1, 8}

// NetworkSides are what lifecycles over a network are compared between.
var NetworkSides = []string{"original", "pendingq", "pendingq-held"}

// Network compares lifecycles over a network with a round trip of 1 ms.
func (s *Suite) Network(ctx context.Context, callers int) (Runs, error) {
	addr, stop, err := StartProxy(s.Addr, time.Millisecond)
	if err != nil {
		return nil, err
	}
	defer stop()
	return s.lifecycles(ctx, addr, NetworkSides, callers, s.Each/40*callers)
}

func (s *Suite) lifecycles(ctx context.Context, addr string, names []string, callers, n int) (
	Runs, error) {
	admin, err := s.empty(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	var sides []Side
	for _, name := range names {
		client := NewClient(addr, callers)
		defer client.Close()
		stack, err := NewSide(client, name)
		if err != nil {
			return nil, err
		}
		sides = append(sides, Side{name, stack.Lifecycle})
	}
	return s.compare(ctx, fmt.Sprint("lifecycles, ", callers, " callers"), sides, callers, n, admin)
}
