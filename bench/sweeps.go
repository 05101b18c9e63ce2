package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// sweepCallers call at a time in sweeps.
const sweepCallers = 16

// Point is a measurement at one size of something.
type Point struct {
	Side   string  // what was measured
	Size   int     // live requests, or bytes of an answer
	Bytes  float64 // of a pending request; 0 where that is not measured
	Result Result
}

// AnswerSides are what Answers measures.
var AnswerSides = []string{"original", "pendingq"}

// Answers measures lifecycles whose answers have so many bytes. Larger answers come in smaller
// numbers.
func (s *Suite) Answers(ctx context.Context, sizes []int) (points []Point, err error) {
	const volume = 200 << 20 // bytes of answers, which the server keeps for a while
	for _, size := range sizes {
		for _, side := range AnswerSides {
			r, err := s.answers(ctx, side, size, min(s.Swept, volume/size))
			if err != nil {
				return nil, fmt.Errorf("answers of %s: %w", side, err)
			}
			points = append(points, Point{Side: side, Size: size, Result: r})
			s.Progress("answers of %d bytes: %-20s %7.0f/s, server CPU %v",
				size, side, r.PerSecond(), r.ServerCPU)
		}
	}
	return points, nil
}

func (s *Suite) answers(ctx context.Context, side string, size, n int) (Result, error) {
	client, err := s.empty(ctx, sweepCallers)
	if err != nil {
		return Result{}, err
	}
	defer client.Close()
	stack, err := NewSide(client, side)
	if err != nil {
		return Result{}, err
	}
	return Run(ctx, Answering(stack, size).Lifecycle, sweepCallers, n, client)
}

// GrowthSides are what Growth measures.
var GrowthSides = []string{
	"memory, one mailbox", "memory, many", "redis, one mailbox", "redis, many"}

// Growth measures lifecycles among more and more live requests, in the mailboxes that hold them:
// one mailbox, or a mailbox for ten requests.
func (s *Suite) Growth(ctx context.Context, sizes []int) (points []Point, err error) {
	for _, side := range GrowthSides {
		grown, err := s.grow(ctx, side, sizes)
		if err != nil {
			return nil, fmt.Errorf("growth of %s: %w", side, err)
		}
		points = append(points, grown...)
	}
	return points, nil
}

func (s *Suite) grow(ctx context.Context, side string, sizes []int) (points []Point, err error) {
	var server redis.UniversalClient
	var stack Stack
	if strings.HasPrefix(side, "memory") {
		stack, err = NewMemory()
	} else {
		var client *redis.Client
		if client, err = s.empty(ctx, 64); err != nil {
			return nil, err
		}
		defer client.Close()
		server = client
		stack, err = NewRedis(client, nil)
	}
	if err != nil {
		return nil, err
	}
	live := 0
	for _, size := range sizes {
		mailboxes := 1
		if strings.HasSuffix(side, "many") {
			mailboxes = size / 10
		}
		used, err := FillMemory(ctx, stack, server, size-live, mailboxes)
		if err != nil {
			return nil, err
		}
		live = size
		do := among("filled-", mailboxes, stack.Lifecycle)
		r, err := Run(ctx, do, sweepCallers, s.Swept, server)
		if err != nil {
			return nil, err
		}
		points = append(points, Point{Side: side, Size: live, Bytes: used, Result: r})
		s.Progress("%d live requests: %-20s %7.0f lifecycles/s", live, side, r.PerSecond())
	}
	return points, nil
}
