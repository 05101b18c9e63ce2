package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// Suite measures what a report tells.
type Suite struct {
	Addr     string // of a Redis server, which the Suite empties
	Rounds   int    // of a comparison; the median of the rounds counts
	Each     int    // operations of a side in a round; fewer where each takes long
	Swept    int    // operations of a point of a sweep
	Progress func(format string, args ...any)
}

// Do is an operation of a caller on a mailbox.
type Do func(ctx context.Context, mailbox string) error

// Side is one of those that a comparison runs.
type Side struct {
	Name string
	Do   Do
}

// Runs are the results of a comparison: of each side those of its rounds.
type Runs map[string][]Result

// Median returns the median of a figure over the rounds of a side.
func (r Runs) Median(side string, figure func(Result) float64) float64 {
	values := make([]float64, 0, len(r[side]))
	for _, result := range r[side] {
		values = append(values, figure(result))
	}
	return median(values)
}

// Ratio compares a figure of two sides in each round, and returns the median of these ratios.
func (r Runs) Ratio(side, against string, figure func(Result) float64) float64 {
	values := make([]float64, 0, len(r[side]))
	for round, result := range r[side] {
		values = append(values, figure(result)/figure(r[against][round]))
	}
	return median(values)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// compare runs all sides in turn, n operations each, round after round. A busy moment of the
// machine then hits them all. The first round only warms up. Admin is asked for CPU time; nil if
// there is no server.
func (s *Suite) compare(ctx context.Context, what string, sides []Side, callers, n int,
	admin redis.UniversalClient) (Runs, error) {
	runs := Runs{}
	for round := range s.Rounds + 1 {
		for _, side := range sides {
			r, err := Run(ctx, side.Do, callers, n, admin)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", what, side.Name, err)
			}
			if round > 0 {
				runs[side.Name] = append(runs[side.Name], r)
			}
			s.Progress("%s, round %d of %d: %-26s %7.0f/s, server CPU %v",
				what, round, s.Rounds, side.Name, r.PerSecond(), r.ServerCPU)
		}
	}
	return runs, nil
}

// empty returns a client of the server, which it has emptied: what expires costs the server time.
func (s *Suite) empty(ctx context.Context, callers int) (*redis.Client, error) {
	client := NewClient(s.Addr, callers)
	if err := client.FlushAll(ctx).Err(); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}
