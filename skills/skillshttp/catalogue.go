package skillshttp

import (
	"context"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/catalogue"
)

// Catalogue remembers the models of each runtime. Package catalogue keeps one in memory and one in
// Redis.
type Catalogue interface {
	// Put replaces the entry of a runtime. The catalogue may forget it after catalogue.Lifetime.
	Put(ctx context.Context, runtimeID string, e catalogue.Entry) error
	// Get returns the entry of a runtime. It returns nil if there is none.
	Get(ctx context.Context, runtimeID string) (*catalogue.Entry, error)
	// Drop removes the entry of a runtime, if there is one.
	Drop(ctx context.Context, runtimeID string) error
}

// refreshAge is the age of an entry after which a front end's request also asks the runtime.
const refreshAge = time.Minute

// catalogued answers a request for a runtime's models from the catalogue, or returns nil. If the
// catalogue fails, it returns nil, so the runtime is asked.
func (c *call) catalogued() any {
	if c.config.Catalogue == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), c.config.HeartbeatTime)
	defer cancel()
	e, err := c.config.Catalogue.Get(ctx, c.runtimeID)
	c.warn(err, "read the catalogue of models", c.runtimeID)
	now := time.Now().UTC()
	if e == nil || now.Sub(e.At) >= catalogue.Lifetime {
		return nil
	}
	if now.Sub(e.At) > refreshAge {
		c.refresh(ctx)
	}
	return record{ID: backends.NewID(c.runtimeID), RuntimeID: c.runtimeID,
		Status: pending.StatusCompleted, CreatedAt: now, UpdatedAt: now,
		payload: skills.ModelList{Models: e.Models, Supported: true, Cached: true, CachedAt: &e.At}}
}

// refresh asks the runtime for its models, unless such a request is already pending.
func (c *call) refresh(ctx context.Context) {
	models := c.config.Stores.ModelLists
	asked, err := models.HasPending(ctx, c.runtimeID)
	if err == nil && !asked {
		_, err = models.Create(ctx, c.runtimeID, skills.NewModelList())
	}
	c.warn(err, "refresh the catalogue of models", c.runtimeID)
}

// storeModels stores the models that a runtime has listed. If the runtime lists none, it drops the
// entry.
func (h *Handler) storeModels(ctx context.Context, claim *pending.Claim[skills.ModelList]) {
	if h.config.Catalogue == nil {
		return
	}
	var err error
	if list := claim.Payload; list.Supported && len(list.Models) > 0 {
		e := catalogue.Entry{Models: list.Models, At: claim.UpdatedAt}
		err = h.config.Catalogue.Put(ctx, claim.Mailbox, e)
	} else {
		err = h.config.Catalogue.Drop(ctx, claim.Mailbox)
	}
	h.warn(err, "write the catalogue of models", claim.Mailbox)
}
