package remote

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/pending"
)

const (
	maxClaims    = 64   // of one HTTP request
	maxMailboxes = 1000 // of a page
)

// content is the body of a create, extend, cancel or end.
type content struct {
	message
	payload
}

// readContent reads the body and checks it. A backend need not check its arguments: package pending
// has done that for its callers. These callers are remote. The caller is authorised.
func (c *call) readContent() (body content, err error) {
	c.keep(0)
	if err := c.take(c.bodySize(c.store.maxBody()) + c.store.maxPayload()); err != nil {
		return body, err
	}
	if err := c.decode(&body, c.store.maxBody()); err != nil {
		return body, err
	}
	if body.bytes() != nil {
		body.Codec = cmp.Or(body.Codec, "json")
	}
	if body.Codec != "" {
		err = check.Name("codec", body.Codec)
	}
	body.StartedAt = body.StartedAt.Truncate(time.Microsecond)
	if !body.StartedAt.IsZero() && body.StartedAt.UnixMicro() < 0 {
		err = check.Invalid("started_at is before 1970")
	}
	if body.JSON != nil && body.Base64 != nil {
		err = check.Invalid("payload and payload_base64 exclude each other")
	}
	return body, cmp.Or(err, check.Headers(body.Headers),
		check.Payload(body.bytes(), c.store.MaxPayload),
		check.Range("attempt", body.Attempt, 0, check.MaxAttempts),
		check.Range("after_us", body.AfterMicros, 0, check.MaxDuration.Microseconds()),
		check.Range("the length of the reason", len(body.Reason), 0, check.MaxReason))
}

// about finds a request and reads the body.
func (c *call) about(action Action) (rec backends.Record, body content, err error) {
	if rec, err = c.find(action); err == nil {
		rec.Payload = nil
		body, err = c.readContent()
	}
	return rec, body, err
}

// change runs an operation that changes a request.
func (c *call) change(do func(context.Context) (backends.Record, error)) ([]byte, error) {
	c.changed = true
	return answerRecord(timed(c.r.Context(), c, do))
}

func answerRecord(rec backends.Record, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return appendRecord(nil, rec), nil
}

// create makes a request. Its id is the query's, or derived from the query's key, or a new one.
func (c *call) create() (_ []byte, err error) {
	if err := c.inMailbox(ActionCreate); err != nil {
		return nil, err
	}
	if c.id, err = c.newID(); err != nil {
		return nil, err
	}
	body, err := c.readContent()
	if err != nil {
		return nil, err
	}
	return c.change(func(ctx context.Context) (backends.Record, error) {
		rec, err := c.backend.Create(ctx, backends.Create{Terms: c.store.terms, ID: c.id,
			Mailbox: c.mailbox, Codec: cmp.Or(body.Codec, "json"), Payload: body.bytes(),
			Headers: body.Headers})
		if err == nil && rec.Mailbox != c.mailbox {
			err = check.Invalid("the id is that of another request")
		}
		return rec, err
	})
}

func (c *call) newID() (string, error) {
	id, key := c.query.Get("id"), c.query.Get("key")
	switch {
	case id != "" && key != "":
		return "", check.Invalid("id and key exclude each other")
	case key != "":
		return backends.DeriveID(c.store.Name, c.mailbox, key),
			check.Range("the length of the key", len(key), 1, check.MaxName)
	case id == "":
		return backends.NewID(c.mailbox), nil
	}
	err := check.ID(id)
	if err == nil && backends.PartitionOf(id) != backends.Partition(c.mailbox) {
		err = check.Invalid("the id is not one of this mailbox")
	}
	return id, err
}

// isLast reports whether a release would make the request time out. After a cancel it would not,
// since the request then keeps its deadline.
func (c *call) isLast(rec backends.Record) bool {
	return !rec.Ended() && rec.CancelledAs == "" && rec.Attempt >= c.store.terms.MaxAttempts
}

// extend renews the lease of a claim, stores progress, or releases. As in package pending, a
// release of the last attempt is invalid.
func (c *call) extend() ([]byte, error) {
	rec, body, err := c.about(ActionReport)
	if err == nil && body.Release && body.Attempt == rec.Attempt && c.isLast(rec) {
		err = check.Invalid("attempt %d is the last", body.Attempt)
	}
	if err != nil {
		return nil, err
	}
	l, err := timed(c.r.Context(), c, func(ctx context.Context) (backends.Lease, error) {
		return c.backend.Extend(ctx, backends.Extend{Terms: c.store.terms, ID: c.id,
			Attempt: body.Attempt, StartedAt: body.StartedAt, Mailbox: c.mailbox,
			Codec: body.Codec, Payload: body.bytes(), Release: body.Release,
			After: time.Duration(body.AfterMicros) * time.Microsecond})
	})
	return appendJSON(nil, lease(l)), err
}

// cancel ends a request for its requester. The policy decides about the grace.
func (c *call) cancel() ([]byte, error) {
	_, body, err := c.about(ActionCancel)
	if err != nil {
		return nil, err
	}
	cancel := backends.Cancel{Terms: c.store.terms, ID: c.id, Mailbox: c.mailbox,
		Outcome: cmp.Or(body.Outcome, backends.StatusCancelled), Error: body.Reason}
	switch cancel.Outcome {
	case backends.StatusTimeout:
	case backends.StatusCancelled:
		cancel.Grace = c.store.CancelGrace.Truncate(time.Microsecond)
	default:
		return nil, check.Invalid("outcome is neither cancelled nor timeout")
	}
	return c.change(func(ctx context.Context) (backends.Record, error) {
		return c.backend.Cancel(ctx, cancel)
	})
}

// end takes a worker's last word.
func (c *call) end() ([]byte, error) {
	rec, body, err := c.about(ActionReport)
	if err != nil {
		return nil, err
	}
	cancelled := rec.CancelledAs != "" || rec.Ended() // the backend refuses to end it again
	switch outcome := body.Outcome; {
	case outcome == backends.StatusCompleted, outcome == backends.StatusFailed:
	case outcome == backends.StatusCancelled && cancelled:
	case slices.Contains(c.store.Outcomes, pending.Status(outcome)):
	default:
		return nil, check.Invalid("outcome %.40q is not one of the store, or nobody has cancelled",
			outcome)
	}
	return c.change(func(ctx context.Context) (backends.Record, error) {
		return c.backend.End(ctx, backends.End{Terms: c.store.terms, ID: c.id, Mailbox: c.mailbox,
			Outcome: body.Outcome, Error: body.Reason, Attempt: body.Attempt,
			StartedAt: body.StartedAt, Codec: cmp.Or(body.Codec, "json"), Payload: body.bytes()})
	})
}

func (c *call) hasPending() ([]byte, error) {
	if err := c.inMailbox(ActionList); err != nil {
		return nil, err
	}
	has, err := timed(c.r.Context(), c, func(ctx context.Context) (bool, error) {
		return c.backend.HasPending(ctx, c.store.Name, c.mailbox)
	})
	return appendJSON(nil, map[string]bool{"pending": has}), err
}

// list returns a page of a mailbox. The page ends when its payloads fill the caller's share.
func (c *call) list() ([]byte, error) {
	if err := c.inMailbox(ActionList); err != nil {
		return nil, err
	}
	limit, lister, err := c.page(check.MaxLimit)
	if err != nil {
		return nil, err
	}
	if err := c.take(int64(limit) * c.store.maxPayload()); err != nil {
		return nil, err
	}
	page, err := timed(c.r.Context(), c, func(ctx context.Context) (backends.Page, error) {
		return c.fill(ctx, lister, limit)
	})
	if err != nil {
		return nil, err
	}
	c.warn(page.Errs)
	b := append(appendRequests(nil, page.Records, page.Errs), `,"next":`...)
	return append(appendJSON(b, page.Next), '}'), nil
}

// fill lists requests until there are as many as the limit, or until one more might not fit into
// the bytes that the call holds. Each step asks for as many as surely fit.
func (c *call) fill(ctx context.Context, l backends.Lister, limit int) (backends.Page, error) {
	page, left, most := backends.Page{Next: c.query.Get("after")}, c.held, c.store.maxPayload()
	for range check.MaxLimit { // a backend may return empty pages
		n := min(limit-len(page.Records)-len(page.Errs), max(1, int(left/most)))
		more, err := l.List(ctx, c.store.Name, c.mailbox, page.Next, n)
		if err != nil {
			return page, err
		}
		page.Records = append(page.Records, more.Records...)
		page.Errs, page.Next = append(page.Errs, more.Errs...), more.Next
		for _, rec := range more.Records {
			left -= int64(len(rec.Payload))
		}
		if more.Next == "" || len(page.Records)+len(page.Errs) >= limit || left < most {
			break
		}
	}
	return page, nil
}

// page returns the query's limit, or the largest, and the backend's Lister.
func (c *call) page(most int) (limit int, lister backends.Lister, err error) {
	limit, err = strconv.Atoi(cmp.Or(c.query.Get("limit"), strconv.Itoa(most)))
	if err != nil {
		return 0, nil, check.Invalid("limit is not a number")
	}
	if err := check.Range("limit", limit, 1, most); err != nil {
		return 0, nil, err
	}
	lister, ok := backends.As[backends.Lister](c.backend)
	if !ok {
		err = errors.ErrUnsupported
	}
	return limit, lister, err
}

func (c *call) mailboxes() ([]byte, error) {
	if err := c.inStore(ActionList, ""); err != nil {
		return nil, err
	}
	limit, lister, err := c.page(maxMailboxes)
	if err != nil {
		return nil, err
	}
	page, err := timed(c.r.Context(), c, func(ctx context.Context) (backends.MailboxPage, error) {
		return lister.Mailboxes(ctx, c.store.Name, c.query.Get("after"), limit)
	})
	if page.Mailboxes == nil {
		page.Mailboxes = []string{}
	}
	return appendJSON(nil, mailboxes(page)), err
}

// claim makes the first claims of a body, as many as fit into the caller's share. With many claims,
// one that fails or is refused fails no other.
func (c *call) claim() ([]byte, error) {
	var b claims
	if err := c.decode(&b, smallBody); err != nil {
		return nil, err
	}
	err := check.Range("the number of claims", len(b.Claims), 1, maxClaims)
	if err != nil {
		return nil, err
	}
	var results []backends.ClaimResult
	var made []backends.Claim // the claims that are allowed
	var bytes int64
	for _, one := range b.Claims {
		x, most, err := c.newClaim(one)
		if len(made) > 0 && bytes+most > c.share() {
			break
		}
		results = append(results, backends.ClaimResult{Err: err})
		if err == nil {
			made, bytes = append(made, x), bytes+most
		}
	}
	if err := c.take(bytes); err != nil {
		return nil, err
	}
	c.make(made, results)
	for i, result := range results {
		c.mailbox = check.Cut(b.Claims[i].Mailbox, check.MaxName)
		if result.Err != nil && len(b.Claims) == 1 {
			return nil, result.Err
		}
		c.note(result)
	}
	return append(appendList([]byte(`{"results":`), results, appendResult), '}'), nil
}

// make passes the allowed claims to the backend. Results has an element for each claim of the body.
// The element of a refused claim has its error already. Make fills in the others, in order.
func (c *call) make(made []backends.Claim, results []backends.ClaimResult) {
	got, _ := timed(c.r.Context(), c,
		func(ctx context.Context) ([]backends.ClaimResult, error) {
			got := backends.ClaimMany(ctx, c.backend, made)
			for i := range got {
				got[i].Err = c.late(ctx, got[i].Err)
			}
			return got, nil
		})
	for i := range results {
		if results[i].Err == nil {
			results[i], got = got[0], got[1:]
		}
	}
}

// note logs the errors of a claim, and notes whether it has got requests.
func (c *call) note(result backends.ClaimResult) {
	if result.Err != nil {
		level := slog.LevelInfo
		if codeOf(result.Err).status >= http.StatusInternalServerError {
			level = slog.LevelError
		}
		c.config.Logger.Log(c.r.Context(), level, "claim", "mailbox", c.mailbox,
			"error", result.Err)
	}
	for _, part := range result.Claimed {
		c.changed = c.changed || len(part.Records) > 0
		c.warn(part.Errs)
	}
}

// newClaim checks a claim and authorises it. It lowers the limits so that the answer fits into the
// caller's share, and returns how large the answer can be.
func (c *call) newClaim(b claim) (made backends.Claim, bytes int64, err error) {
	err = cmp.Or(check.Mailbox(b.Mailbox),
		check.Range("the length of the claim's id", len(b.ID), 1, check.MaxName))
	if len(b.From) == 0 {
		err = cmp.Or(err, check.Invalid("a claim needs stores"))
	}
	if err != nil {
		return made, 0, err
	}
	spare := c.share()
	for _, from := range b.From {
		limit := cmp.Or(from.Limit, 1)
		if err := check.Range("limit", limit, 1, check.MaxLimit); err != nil {
			return made, 0, err
		}
		if err := c.allow(ActionClaim, from.Store, b.Mailbox); err != nil {
			return made, 0, err
		}
		same := func(f backends.From) bool { return f.Store == from.Store }
		if slices.ContainsFunc(made.From, same) {
			return made, 0, check.Invalid("store %q is in the claim twice", from.Store)
		}
		s := c.stores[from.Store]
		spare -= s.maxPayload() // Handler has checked that one request of each store fits
		made.From = append(made.From, backends.From{Terms: s.terms, Limit: limit})
	}
	for i, from := range made.From {
		most := c.stores[from.Store].maxPayload()
		limit := min(from.Limit, 1+int(spare/int64(len(b.From))/most))
		made.From[i].Limit, bytes = limit, bytes+int64(limit)*most
	}
	made.Mailbox, made.ID = b.Mailbox, check.ClaimID(b.ID, b.Mailbox, made.From)
	return made, bytes, nil
}

// warn logs the errors of records that were skipped.
func (c *call) warn(errs []error) {
	for _, err := range errs {
		c.config.Logger.Warn("skipped a record or a queue", "mailbox", c.mailbox, "error", err)
	}
}
