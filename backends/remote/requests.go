package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// create makes a request. Its id is the query's, or derived from the query's key, or a new one.
func (c *call) create() (*body, error) {
	if err := c.inMailbox(ActionCreate); err != nil {
		return nil, err
	}
	id, err := c.newID()
	if err != nil {
		return nil, err
	}
	c.id = id
	if err := c.take(c.bodySize(c.store.maxBody()) + c.store.maxPayload); err != nil {
		return nil, err
	}
	var b struct {
		Codec   string          `json:"codec"`
		Headers json.RawMessage `json:"headers"`
		payload
	}
	if err := c.decode(&b, c.store.maxBody()); err != nil {
		return nil, err
	}
	headers, err := headers(b.Headers)
	codec := cmp.Or(b.Codec, "json")
	if err := cmp.Or(err, checkCodec(codec), c.store.checkPayload(b.payload)); err != nil {
		return nil, err
	}
	rec, err := timed(c.r.Context(), c, func(ctx context.Context) (backends.Record, error) {
		return c.backend.Create(ctx, backends.Create{Terms: c.store.terms, ID: id,
			Mailbox: c.mailbox, Codec: codec, Payload: b.payload.bytes(), Headers: headers})
	})
	if err == nil && rec.Mailbox != c.mailbox {
		err = invalid("the id is that of another request")
	}
	c.changed = true
	return answerRecord(rec, err)
}

func (c *call) newID() (string, error) {
	query := c.r.URL.Query()
	id, key := query.Get("id"), query.Get("key")
	switch {
	case id != "" && key != "":
		return "", invalid("id and key exclude each other")
	case len(key) > maxName:
		return "", invalid("key has %d bytes, want at most %d", len(key), maxName)
	case key != "":
		return backends.DeriveID(c.store.terms.Store, c.mailbox, key), nil
	case id == "":
		return backends.NewID(c.mailbox), nil
	}
	if err := backends.CheckID(id); err != nil {
		return "", invalid("the id: %v", err)
	}
	if backends.PartitionOf(id) != backends.Partition(c.mailbox) {
		return "", invalid("the id is not one of this mailbox")
	}
	return id, nil
}

func answerRecord(rec backends.Record, err error) (*body, error) {
	if err != nil {
		return nil, err
	}
	return new(body).record(rec), nil
}

// extend renews the lease of a claim, stores progress, or releases.
func (c *call) extend() (*body, error) {
	if _, err := c.find(ActionReport); err != nil {
		return nil, err
	}
	var b struct {
		extendBody
		payload
	}
	if err := c.decode(&b, c.store.maxBody()); err != nil {
		return nil, err
	}
	if b.payload.bytes() != nil {
		b.Codec = cmp.Or(b.Codec, "json")
	}
	after, err := microseconds(b.AfterMicros)
	err = cmp.Or(err, checkRange("attempt", int64(b.Attempt), 0, maxAttempts),
		c.store.checkPayload(b.payload))
	if b.Codec != "" {
		err = cmp.Or(err, checkCodec(b.Codec))
	}
	if err != nil {
		return nil, err
	}
	l, err := timed(c.r.Context(), c, func(ctx context.Context) (backends.Lease, error) {
		return c.backend.Extend(ctx, backends.Extend{Terms: c.store.terms, ID: c.id,
			Attempt: b.Attempt, Mailbox: c.mailbox, Codec: b.Codec, Payload: b.payload.bytes(),
			Release: b.Release, After: after})
	})
	if err != nil {
		return nil, err
	}
	return new(body).value(lease(l)), nil
}

// cancel ends a request for its requester. The policy decides about the grace.
func (c *call) cancel() (*body, error) {
	if _, err := c.find(ActionCancel); err != nil {
		return nil, err
	}
	var b cancelBody
	if err := c.decode(&b, smallBody); err != nil {
		return nil, err
	}
	if err := checkReason("reason", b.Reason); err != nil {
		return nil, err
	}
	cancel := backends.Cancel{Terms: c.store.terms, ID: c.id, Mailbox: c.mailbox,
		Outcome: cmp.Or(b.Outcome, backends.StatusCancelled), Error: b.Reason}
	switch cancel.Outcome {
	case backends.StatusTimeout:
	case backends.StatusCancelled:
		cancel.Grace = c.store.policy.CancelGrace.Truncate(time.Microsecond)
	default:
		return nil, invalid("outcome is neither cancelled nor timeout")
	}
	c.changed = true
	return answerRecord(timed(c.r.Context(), c, func(ctx context.Context) (backends.Record, error) {
		return c.backend.Cancel(ctx, cancel)
	}))
}

// end takes a worker's last word.
func (c *call) end() (*body, error) {
	rec, err := c.find(ActionReport)
	if err != nil {
		return nil, err
	}
	cancelled := rec.CancelledAs != "" || rec.Status == backends.StatusCancelled
	var b struct {
		endBody
		payload
	}
	if err := c.decode(&b, c.store.maxBody()); err != nil {
		return nil, err
	}
	b.Codec = cmp.Or(b.Codec, "json")
	err = cmp.Or(checkRange("attempt", int64(b.Attempt), 0, maxAttempts), checkCodec(b.Codec),
		checkReason("error", b.Error), c.store.checkPayload(b.payload),
		c.store.checkOutcome(b.Outcome, cancelled))
	if err != nil {
		return nil, err
	}
	c.changed = true
	return answerRecord(timed(c.r.Context(), c, func(ctx context.Context) (backends.Record, error) {
		return c.backend.End(ctx, backends.End{Terms: c.store.terms, ID: c.id, Mailbox: c.mailbox,
			Outcome: b.Outcome, Error: b.Error, Attempt: b.Attempt, Codec: b.Codec,
			Payload: b.payload.bytes()})
	}))
}

// checkOutcome checks how a worker ends a request. Cancelled tells whether a cancel was requested.
func (s *store) checkOutcome(outcome string, cancelled bool) error {
	switch {
	case outcome == backends.StatusCompleted, outcome == backends.StatusFailed:
	case outcome == backends.StatusCancelled && cancelled:
	case slices.Contains(s.policy.Outcomes, pending.Status(outcome)):
	default:
		return invalid("outcome %.40q is not one of the store, or nobody has cancelled", outcome)
	}
	return nil
}

func (c *call) hasPending() (*body, error) {
	if err := c.inMailbox(ActionList); err != nil {
		return nil, err
	}
	has, err := timed(c.r.Context(), c, func(ctx context.Context) (bool, error) {
		return c.backend.HasPending(ctx, c.store.terms.Store, c.mailbox)
	})
	if err != nil {
		return nil, err
	}
	return new(body).value(map[string]bool{"pending": has}), nil
}

// list returns a page of a mailbox, as large as the caller's share allows.
func (c *call) list() (*body, error) {
	if err := c.inMailbox(ActionList); err != nil {
		return nil, err
	}
	limit, err := c.limit(maxLimit)
	if err != nil {
		return nil, err
	}
	lister, ok := backends.As[backends.Lister](c.backend)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	limit = min(limit, max(1, c.budgets[c.side].share()/c.store.maxPayload))
	if err := c.take(limit * c.store.maxPayload); err != nil {
		return nil, err
	}
	after := c.r.URL.Query().Get("after")
	page, err := timed(c.r.Context(), c, func(ctx context.Context) (backends.Page, error) {
		return lister.List(ctx, c.store.terms.Store, c.mailbox, after, int(limit))
	})
	if err != nil {
		return nil, err
	}
	c.warn(page.Errs)
	b := new(body).text("{").requests(page.Records, page.Errs)
	return b.text(`,"next":`).value(page.Next).text("}"), nil
}

// limit returns the query's limit, or the largest.
func (c *call) limit(most int64) (int64, error) {
	text := c.r.URL.Query().Get("limit")
	if text == "" {
		return most, nil
	}
	limit, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, invalid("limit is not a number")
	}
	return limit, checkRange("limit", limit, 1, most)
}

func (c *call) mailboxes() (*body, error) {
	query := c.r.URL.Query()
	if err := c.allow(ActionList, query.Get("store"), ""); err != nil {
		return nil, err
	}
	c.store = c.stores[query.Get("store")]
	limit, err := c.limit(maxMailboxes)
	if err != nil {
		return nil, err
	}
	lister, ok := backends.As[backends.Lister](c.backend)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	page, err := timed(c.r.Context(), c, func(ctx context.Context) (backends.MailboxPage, error) {
		return lister.Mailboxes(ctx, c.store.terms.Store, query.Get("after"), int(limit))
	})
	if err != nil {
		return nil, err
	}
	if page.Mailboxes == nil {
		page.Mailboxes = []string{}
	}
	return new(body).value(mailboxesAnswer(page)), nil
}

// claim claims from several stores of a mailbox at once.
func (c *call) claim() (*body, error) {
	var b claimBody
	if err := c.decode(&b, smallBody); err != nil {
		return nil, err
	}
	claim, bytes, err := c.newClaim(b)
	if err != nil {
		return nil, err
	}
	c.mailbox = claim.Mailbox
	if err := c.take(bytes); err != nil {
		return nil, err
	}
	claimed, err := timed(c.r.Context(), c, func(ctx context.Context) ([]backends.Claimed, error) {
		return c.backend.Claim(ctx, claim)
	})
	if err != nil {
		return nil, err
	}
	c.note(claimed)
	return new(body).claimed(claimed), nil
}

// note logs the result of a claim.
func (c *call) note(claimed []backends.Claimed) {
	for _, part := range claimed {
		c.changed = c.changed || len(part.Records) > 0
		c.warn(part.Errs)
	}
}

// warn logs the errors of records that were skipped.
func (c *call) warn(errs []error) {
	for _, err := range errs {
		c.config.Logger.Warn("passed over", "mailbox", c.mailbox, "error", err)
	}
}

// claimMany makes many claims, as many at a time as fit into the caller's share.
func (c *call) claimMany() (*body, error) {
	var b claimsBody
	if err := c.decode(&b, smallBody); err != nil {
		return nil, err
	}
	if err := checkRange("the number of claims", int64(len(b.Claims)), 1, maxClaims); err != nil {
		return nil, err
	}
	claims, sizes := make([]backends.Claim, len(b.Claims)), make([]int64, len(b.Claims))
	for i := range b.Claims {
		var err error
		if claims[i], sizes[i], err = c.newClaim(b.Claims[i]); err != nil {
			return nil, err
		}
	}
	lines := c.stream("application/x-ndjson")
	for len(claims) > 0 {
		n, bytes := 1, sizes[0]
		for n < len(claims) && bytes+sizes[n] <= c.budgets[c.side].share() {
			bytes += sizes[n]
			n++
		}
		if err := c.take(bytes); err != nil {
			return nil, err // the client sees that results are missing
		}
		for _, result := range c.someClaims(claims[:n]) {
			if err := lines.write(claimLine(result)); err != nil {
				return nil, err
			}
		}
		c.keep(0)
		claims, sizes = claims[n:], sizes[n:]
	}
	return nil, nil
}

func (c *call) someClaims(claims []backends.Claim) []backends.ClaimResult {
	claimAll := func(ctx context.Context) ([]backends.ClaimResult, error) {
		if many, ok := backends.As[backends.ManyClaimer](c.backend); ok {
			return many.ClaimMany(ctx, claims), nil
		}
		results := make([]backends.ClaimResult, len(claims))
		for i, claim := range claims {
			results[i].Claimed, results[i].Err = c.backend.Claim(ctx, claim)
		}
		return results, nil
	}
	results, _ := timed(c.r.Context(), c, claimAll)
	for i, result := range results {
		if result.Err != nil {
			c.config.Logger.Error("claim", "mailbox", claims[i].Mailbox, "error", result.Err)
		}
		c.note(result.Claimed)
	}
	return results
}

func claimLine(result backends.ClaimResult) *body {
	if result.Err == nil {
		return new(body).claimed(result.Claimed)
	}
	_, e := encodeError(result.Err)
	return new(body).text(`{"claimed":[],"failure":`).value(e).text("}")
}
