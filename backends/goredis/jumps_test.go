package goredis_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/redistest"
)

// jumper is a Backend on a server with a clock that jumps back and forth.
type jumper struct {
	*rapid.T
	ctx    context.Context
	mini   *miniredis.Miniredis
	client *redis.Client
	b      *goredis.Backend
	start  time.Time
	ids    []string
	taken  map[string]bool // attempts that were handed out
}

// Whatever the clock does, no script fails, every key expires, and no attempt is handed out twice.
func TestClockJumpsBreakNothing(t *testing.T) {
	parallel(t)
	effort.Rapid()
	mini, client := redistest.Mini(t)
	b, start := newBackend(t, client, nil), time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		mini.FlushAll()
		mini.SetTime(start)
		j := &jumper{T: rt, ctx: t.Context(), mini: mini, client: client, b: b, start: start,
			taken: map[string]bool{}}
		rt.Repeat(map[string]func(*rapid.T){"jump": j.jump, "create": j.create, "claim": j.claim,
			"extend": j.extend, "end": j.end, "": j.check})
	})
}

func (j *jumper) number(name string, from, to int) int {
	return rapid.IntRange(from, to).Draw(j.T, name)
}

func (j *jumper) terms() backends.Terms {
	terms := lasting("s")
	terms.PendingTimeout = time.Duration(j.number("pending", 1, 4)) * time.Hour
	terms.RunningTimeout = time.Duration(j.number("running", 1, 4)) * time.Hour
	terms.MaxAttempts = j.number("attempts", 1, 3)
	return terms
}

func (j *jumper) jump(*rapid.T) {
	j.mini.SetTime(j.start.Add(time.Duration(j.number("minutes", -300, 300)) * time.Minute))
}

func (j *jumper) create(*rapid.T) {
	c := question(j.terms(), box)
	if rapid.Bool().Draw(j.T, "large") {
		c = large(c.Terms, box)
	}
	if _, err := j.b.Create(j.ctx, c); err != nil {
		j.Fatal(err)
	}
	j.ids = append(j.ids, c.ID)
}

func (j *jumper) claim(*rapid.T) {
	claimed, err := j.b.Claim(j.ctx, heartbeat(box, j.number("limit", 1, 5), j.terms()))
	if err != nil || len(claimed[0].Errs) > 0 {
		j.Fatal(err, claimed)
	}
	for _, rec := range claimed[0].Records {
		attempt := fmt.Sprint(rec.Attempt, " of ", rec.ID)
		if j.taken[attempt] {
			j.Fatalf("attempt %s is handed out twice", attempt)
		}
		j.taken[attempt] = true
	}
}

// one draws the id of a request, and an attempt.
func (j *jumper) one() (id string, attempt int) {
	if len(j.ids) == 0 {
		j.Skip("no request")
	}
	return j.ids[j.number("id", 0, len(j.ids)-1)], j.number("attempt", 1, 3)
}

func (j *jumper) extend(*rapid.T) {
	id, attempt := j.one()
	_, err := j.b.Extend(j.ctx, backends.Extend{Terms: j.terms(), ID: id, Attempt: attempt})
	if err != nil && !decided(err) {
		j.Fatal(err)
	}
}

func (j *jumper) end(*rapid.T) {
	id, attempt := j.one()
	if _, err := j.b.End(j.ctx, report(j.terms(), id, attempt)); err != nil && !decided(err) {
		j.Fatal(err)
	}
}

func (j *jumper) check(*rapid.T) {
	for _, key := range j.mini.Keys() {
		if j.client.PTTL(j.ctx, key).Val() == -1 {
			j.Fatalf("%q never expires", key)
		}
	}
}
