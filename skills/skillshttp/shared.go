package skillshttp

import (
	"net/http"
	"sync"

	"github.com/pendingq/pendingq/internal/quota"
	"github.com/pendingq/pendingq/skills/wire"
)

// sharedAnswers holds the large answers that are being sent. Readers of the same ended request
// share one answer, since it never changes.
type sharedAnswers struct {
	mu     sync.Mutex
	bodies map[string]*sharedAnswer
}

type sharedAnswer struct {
	body    encoded
	readers int
	shares  []quota.Share // of the quota of answers, taken by the first reader
}

// borrow returns an answer that is being sent to another reader, or nil.
func (c *call) borrow() encoded {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	s := c.shared.bodies[c.sharedKey()]
	if s == nil {
		return nil
	}
	c.join(s)
	return s.body
}

func (c *call) sharedKey() string { return c.r.Pattern + " " + c.runtimeID + " " + c.requestID }

// join counts the call as a reader until it is answered.
func (c *call) join(s *sharedAnswer) {
	s.readers++
	c.leaves = append(c.leaves, func() {
		c.shared.mu.Lock()
		defer c.shared.mu.Unlock()
		if s.readers--; s.readers > 0 {
			return
		}
		delete(c.shared.bodies, c.sharedKey())
		c.answers.Leave(int64(len(s.body)), s.shares)
	})
}

// share lets other readers borrow a large answer. If the node sends too many bytes already, share
// returns a refusal. It does not wait for room, since a waiting answer takes as much memory as an
// answer that is being sent.
func (c *call) share(body encoded) error {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	shares := []quota.Share{quota.Of("", c.config.MaxBytes),
		quota.Of(ofCaller(c.caller), c.config.MaxBytes/2)}
	if ok, _ := c.answers.Try(int64(len(body)), shares); !ok {
		return refuse(http.StatusTooManyRequests, wire.CodeOverloaded,
			"too many large answers are on their way to you; read them first")
	}
	s := &sharedAnswer{body: body, shares: shares}
	if c.shared.bodies == nil {
		c.shared.bodies = map[string]*sharedAnswer{}
	}
	c.shared.bodies[c.sharedKey()] = s
	c.join(s)
	return nil
}
