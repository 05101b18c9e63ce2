package bench

import (
	"context"
	"fmt"
	"strings"
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
		for _, size := range sizes {
			p, err := s.grow(ctx, side, size)
			if err != nil {
				return nil, fmt.Errorf("growth of %s: %w", side, err)
			}
			points = append(points, p)
			s.Progress("%d live requests: %-20s %7.0f lifecycles/s, %.0f bytes a request",
				size, side, p.Result.PerSecond(), p.Bytes)
		}
	}
	return points, nil
}

func (s *Suite) grow(ctx context.Context, side string, live int) (Point, error) {
	where, how, _ := strings.Cut(side, ", ")
	mailboxes := 1
	if how == "many" {
		mailboxes = live / 10
	}
	fill := s.growMemory
	if where == "redis" {
		fill = s.growRedis
	}
	return fill(ctx, Point{Side: side, Size: live}, mailboxes)
}

func (s *Suite) growMemory(ctx context.Context, p Point, mailboxes int) (Point, error) {
	stack, err := NewMemory()
	if err != nil {
		return p, err
	}
	if p.Bytes, err = FillMemory(ctx, stack, p.Size, mailboxes); err != nil {
		return p, err
	}
	do := among("filled-", mailboxes, stack.Lifecycle)
	p.Result, err = Run(ctx, do, sweepCallers, s.Swept, nil)
	return p, err
}

func (s *Suite) growRedis(ctx context.Context, p Point, mailboxes int) (Point, error) {
	var err error
	if p.Bytes, err = s.FillRedis(ctx, "pendingq", p.Size, mailboxes); err != nil {
		return p, err
	}
	client := NewClient(s.Addr, sweepCallers)
	defer client.Close()
	stack, err := NewRedis(client, nil)
	if err != nil {
		return p, err
	}
	do := among("filled-", mailboxes, stack.Lifecycle)
	p.Result, err = Run(ctx, do, sweepCallers, s.Swept, client)
	return p, err
}
