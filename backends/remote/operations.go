package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pendingq/pendingq/backends"
)

var (
	_ backends.Backend     = (*Client)(nil)
	_ backends.Waker       = (*Client)(nil)
	_ backends.ManyClaimer = (*Client)(nil)
	_ backends.Lister      = (*Client)(nil)
)

// into reads an answer into v.
func into(v any) func(*json.Decoder) error {
	return func(d *json.Decoder) error { return d.Decode(v) }
}

// inStore is the query of an operation on a store. Further names and values may follow.
func inStore(store string, more ...string) url.Values {
	query := url.Values{"store": {store}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return query
}

// onRequest runs an operation on one request.
func (c *Client) onRequest(
	ctx context.Context, method, store, id, action string, b *body, answer any) error {
	return c.do(ctx, operation{method, "/requests/" + url.PathEscape(id) + action,
		inStore(store), b, into(answer)})
}

// Create implements [backends.Backend].
func (c *Client) Create(ctx context.Context, x backends.Create) (backends.Record, error) {
	var answer record
	err := c.do(ctx, operation{http.MethodPost, "/requests",
		inStore(x.Store, "mailbox", x.Mailbox, "id", x.ID),
		new(body).object(createBody{x.Codec, x.Headers}, x.Codec, x.Payload), into(&answer)})
	return answer.record(), err
}

// Get implements [backends.Backend].
func (c *Client) Get(ctx context.Context, store, id string) (backends.Record, error) {
	var answer record
	err := c.onRequest(ctx, http.MethodGet, store, id, "", nil, &answer)
	return answer.record(), err
}

// HasPending implements [backends.Backend].
func (c *Client) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	var answer struct{ Pending bool }
	err := c.do(ctx, operation{http.MethodGet, "/pending", inStore(store, "mailbox", mailbox),
		nil, into(&answer)})
	return answer.Pending, err
}

func newClaimBody(x backends.Claim) claimBody {
	b := claimBody{ID: x.ID, Mailbox: x.Mailbox}
	for _, from := range x.From {
		b.From = append(b.From, fromBody{from.Store, from.Limit})
	}
	return b
}

var errResults = errors.New("the answer has another number of results")

// Claim implements [backends.Backend]. A server may hand out fewer requests than the limit, so that
// the answer does not get too large.
func (c *Client) Claim(ctx context.Context, x backends.Claim) ([]backends.Claimed, error) {
	var answer claimedAnswer
	err := c.do(ctx, operation{http.MethodPost, "/claim", nil, new(body).value(newClaimBody(x)),
		into(&answer)})
	if err == nil && len(answer.Claimed) != len(x.From) {
		err = fmt.Errorf("remote: claim: %w", errResults)
	}
	if err != nil {
		return nil, err
	}
	return answer.claimed(), nil
}

// ClaimMany implements [backends.ManyClaimer], with up to 64 claims in a round trip.
func (c *Client) ClaimMany(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	var results []backends.ClaimResult
	for len(results) < len(claims) {
		some := claims[len(results):]
		some = some[:min(len(some), maxClaims)]
		results = append(results, c.someClaims(ctx, some)...)
	}
	return results
}

func (c *Client) someClaims(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	var b claimsBody
	for _, x := range claims {
		b.Claims = append(b.Claims, newClaimBody(x))
	}
	results := make([]backends.ClaimResult, len(claims))
	err := c.do(ctx, operation{http.MethodPost, "/claims", nil, new(body).value(b),
		func(d *json.Decoder) error {
			for i := range results {
				var answer claimedAnswer
				if err := d.Decode(&answer); err != nil {
					return err
				}
				results[i] = answer.result(len(claims[i].From))
			}
			return nil
		}})
	for i := range results {
		if err != nil {
			results[i] = backends.ClaimResult{Err: err}
		}
	}
	return results
}

// result returns the result of one of many claims. Stores is the number of its stores.
func (a claimedAnswer) result(stores int) backends.ClaimResult {
	switch {
	case a.Failure != nil:
		return backends.ClaimResult{Err: fmt.Errorf("remote: claim: %w", a.Failure.decode())}
	case len(a.Claimed) != stores:
		return backends.ClaimResult{Err: fmt.Errorf("remote: claim: %w", errResults)}
	}
	return backends.ClaimResult{Claimed: a.claimed()}
}

// Extend implements [backends.Backend].
func (c *Client) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	var answer lease
	if x.Codec == "" {
		x.Payload = nil
	}
	b := extendBody{x.Attempt, x.Codec, x.Release, x.After.Microseconds()}
	err := c.onRequest(ctx, http.MethodPost, x.Store, x.ID, "/extend",
		new(body).object(b, x.Codec, x.Payload), &answer)
	return backends.Lease(answer), err
}

// Cancel implements [backends.Backend]. The server's policy decides about the grace.
func (c *Client) Cancel(ctx context.Context, x backends.Cancel) (backends.Record, error) {
	var answer record
	err := c.onRequest(ctx, http.MethodPost, x.Store, x.ID, "/cancel",
		new(body).value(cancelBody{x.Outcome, x.Error}), &answer)
	return answer.record(), err
}

// End implements [backends.Backend].
func (c *Client) End(ctx context.Context, x backends.End) (backends.Record, error) {
	var answer record
	b := endBody{x.Attempt, x.Outcome, x.Error, x.Codec}
	err := c.onRequest(ctx, http.MethodPost, x.Store, x.ID, "/end",
		new(body).object(b, x.Codec, x.Payload), &answer)
	return answer.record(), err
}

// List implements [backends.Lister]. It returns [errors.ErrUnsupported] if the server's backend
// cannot list.
func (c *Client) List(ctx context.Context, store, mailbox, after string, limit int) (
	backends.Page, error) {
	var answer pageAnswer
	err := c.do(ctx, operation{http.MethodGet, "/requests", inStore(store, "mailbox", mailbox,
		"after", after, "limit", strconv.Itoa(limit)), nil, into(&answer)})
	return backends.Page{Records: records(answer.Requests), Errs: errs(answer.Errors),
		Next: answer.Next}, err
}

// Mailboxes implements [backends.Lister], as List does.
func (c *Client) Mailboxes(ctx context.Context, store, after string, limit int) (
	backends.MailboxPage, error) {
	var answer mailboxesAnswer
	err := c.do(ctx, operation{http.MethodGet, "/mailboxes", inStore(store, "after", after,
		"limit", strconv.Itoa(limit)), nil, into(&answer)})
	return backends.MailboxPage(answer), err
}
