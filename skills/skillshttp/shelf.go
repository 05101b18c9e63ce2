package skillshttp

import (
	"net/http"
	"sync"

	"github.com/pendingq/pendingq/skills/wire"
)

// shelf holds the large answers that are being sent. Readers of the same ended request share one
// answer, since it never changes.
type shelf struct {
	mu     sync.Mutex
	bodies map[string]*shelved
}

type shelved struct {
	body    encoded
	readers int
	shares  []share // of the quota of answers, taken by the first reader
}

// borrow returns an answer that is being sent to another reader, or nil.
func (c *call) borrow() encoded {
	c.shelf.mu.Lock()
	defer c.shelf.mu.Unlock()
	s := c.shelf.bodies[c.shelfKey()]
	if s == nil {
		return nil
	}
	c.hold(s)
	return s.body
}

func (c *call) shelfKey() string { return c.r.Pattern + " " + c.runtimeID + " " + c.requestID }

// hold counts the call as a reader until it is answered.
func (c *call) hold(s *shelved) {
	s.readers++
	c.leaves = append(c.leaves, func() {
		c.shelf.mu.Lock()
		defer c.shelf.mu.Unlock()
		if s.readers--; s.readers > 0 {
			return
		}
		delete(c.shelf.bodies, c.shelfKey())
		c.answers.leave(int64(len(s.body)), s.shares)
	})
}

// lay puts a large answer on the shelf. If the shelf is full, lay returns a refusal. It does not
// wait for room, since a waiting answer takes as much memory as an answer that is being sent.
func (c *call) lay(body encoded) error {
	c.shelf.mu.Lock()
	defer c.shelf.mu.Unlock()
	shares := []share{{"", c.config.MaxBytes}, {ofCaller(c.caller), c.config.MaxBytes / 2}}
	if ok, _ := c.answers.try(int64(len(body)), shares); !ok {
		return refuse(http.StatusTooManyRequests, wire.CodeOverloaded,
			"too many large answers are on their way to you; read them first")
	}
	s := &shelved{body: body, shares: shares}
	if c.shelf.bodies == nil {
		c.shelf.bodies = map[string]*shelved{}
	}
	c.shelf.bodies[c.shelfKey()] = s
	c.hold(s)
	return nil
}
