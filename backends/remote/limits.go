package remote

import (
	"context"
	"time"

	"github.com/pendingq/pendingq/internal/quota"
)

// side is who a request serves: front ends or workers. Each side has limits of its own.
type side int

const (
	front  side = iota // who creates and reads requests
	worker             // who claims and ends them
	sides
)

// limits are what the requests of a side may hold at a time.
type limits struct {
	bytes   quota.Quota // of bodies and answers in flight
	waiting quota.Quota // requests that wait for bytes
	parked  quota.Quota // requests that wait for something to happen
	topics  quota.Quota // mailboxes and requests that watches name
}

const (
	callerShares = 4               // a caller can hold a quarter of the bytes
	maxWaiting   = 1000            // requests that wait for bytes
	patience     = 5 * time.Second // how long a request waits for bytes
	parkedTopics = 10              // topics of all watches, for each place to park
	callerTopics = 2               // topics of a caller's watches, for each place to park
)

// share returns how many bytes a caller can hold.
func (s *Server) share() int64 { return max(1, s.config.MaxInFlight/callerShares) }

// shares returns the shares of all callers and of this one.
func (c *call) shares(ofAll, ofCaller int64) []quota.Share {
	return []quota.Share{quota.Of("", ofAll), quota.Of("caller "+c.caller, max(1, ofCaller))}
}

// take holds bytes until the call is over, but at most a share. It waits until the caller may hold
// them. It returns [ErrTooMany] if that takes too long.
func (c *call) take(bytes int64) error {
	l, shares := &c.limits[c.side], c.shares(c.config.MaxInFlight, c.share())
	bytes = min(bytes, c.share())
	if ok, _ := l.bytes.Try(bytes, shares); !ok {
		queue := c.shares(maxWaiting, maxWaiting/callerShares)
		if ok, _ := l.waiting.Try(1, queue); !ok {
			return ErrTooMany
		}
		defer l.waiting.Leave(1, queue)
		ctx, cancel := context.WithTimeout(c.r.Context(), patience)
		defer cancel()
		if !l.bytes.Enter(ctx, bytes, shares) {
			return ErrTooMany
		}
	}
	c.held += bytes
	return nil
}

// keep gives back the bytes that the call holds, except this many.
func (c *call) keep(bytes int64) {
	if bytes < c.held {
		shares := c.shares(c.config.MaxInFlight, c.share())
		c.limits[c.side].bytes.Leave(c.held-bytes, shares)
		c.held = bytes
	}
}

// park counts the call as parked. Its context ends after wait, when the server drains, or when the
// client hangs up. The caller calls leave.
func (c *call) park(side side, wait time.Duration, mailboxes ...string) (
	ctx context.Context, leave func(), err error) {
	parked, most := &c.limits[side].parked, int64(c.config.MaxParked)
	shares := c.shares(most, most/10)
	for _, mailbox := range mailboxes {
		shares = append(shares, quota.Of("mailbox "+mailbox, max(1, most/100)))
	}
	if ok, _ := parked.Try(1, shares); !ok {
		return nil, nil, ErrTooMany
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), wait)
	stop := context.AfterFunc(c.draining, cancel)
	return ctx, func() {
		stop()
		cancel()
		parked.Leave(1, shares)
	}, nil
}

// follows counts the topics of a watch. Each of them costs memory of its own. The caller calls
// leave.
func (c *call) follows(topics int) (leave func(), err error) {
	n, most := int64(topics), int64(c.config.MaxParked)
	q, shares := &c.limits[c.side].topics, c.shares(parkedTopics*most, callerTopics*most)
	if ok, _ := q.Try(n, shares); !ok {
		return nil, ErrTooMany
	}
	return func() { q.Leave(n, shares) }, nil
}
