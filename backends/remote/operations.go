package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pendingq/pendingq/backends"
)

var (
	_ backends.Backend     = (*Client)(nil)
	_ backends.Waker       = (*Client)(nil)
	_ backends.ManyClaimer = (*Client)(nil)
	_ backends.Lister      = (*Client)(nil)
)

// queryOf returns the query of an operation on a store. Further names and values may follow.
func queryOf(store string, more ...string) url.Values {
	query := url.Values{"store": {store}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return query
}

// tell posts a message about a request.
func tell[T any](ctx context.Context, c *Client, id, action string, query url.Values, m message,
	payload []byte) (T, error) {
	return ask[T](ctx, c, operation{http.MethodPost, "/requests/" + url.PathEscape(id) + action,
		query, appendObject(nil, m, m.Codec, payload)})
}

// Create implements [backends.Backend].
func (c *Client) Create(ctx context.Context, x backends.Create) (backends.Record, error) {
	m := message{Codec: x.Codec, Headers: x.Headers}
	answer, err := ask[record](ctx, c, operation{http.MethodPost, "/requests",
		queryOf(x.Store, "mailbox", x.Mailbox, "id", x.ID),
		appendObject(nil, m, x.Codec, x.Payload)})
	return answer.decode(), lacks(err, x.Mailbox, x.Store)
}

// lacks says what a 404 means if the operation names no request. The server does not say it.
func lacks(err error, mailbox string, stores ...string) error {
	if !errors.Is(err, backends.ErrNotFound) {
		return err
	}
	for i, store := range stores {
		stores[i] = strconv.Quote(store)
	}
	return fmt.Errorf("the server has no store %s, or does not let this caller use mailbox %.80q: "+
		"%w", strings.Join(stores, " or no store "), mailbox, err)
}

// Get implements [backends.Backend].
func (c *Client) Get(ctx context.Context, store, id string) (backends.Record, error) {
	answer, err := ask[record](ctx, c,
		operation{http.MethodGet, "/requests/" + url.PathEscape(id), queryOf(store), nil})
	return answer.decode(), err
}

// HasPending implements [backends.Backend].
func (c *Client) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	answer, err := ask[struct{ Pending bool }](ctx, c,
		operation{http.MethodGet, "/pending", queryOf(store, "mailbox", mailbox), nil})
	return answer.Pending, lacks(err, mailbox, store)
}

// Claim implements [backends.Backend]. A server may hand out fewer requests than the limit, so that
// the answer does not get too large.
func (c *Client) Claim(ctx context.Context, x backends.Claim) ([]backends.Claimed, error) {
	result := c.ClaimMany(ctx, []backends.Claim{x})[0]
	return result.Claimed, result.Err
}

// ClaimMany implements [backends.ManyClaimer], with up to 64 claims in a round trip. A server may
// make fewer claims at a time, so that the answer does not get too large. A failed round trip is
// repeated, but not a claim that fails beside others.
func (c *Client) ClaimMany(
	ctx context.Context, all []backends.Claim) (results []backends.ClaimResult) {
	for len(results) < len(all) {
		rest := all[len(results):]
		body, n := bodyOf(rest)
		answer, err := ask[struct{ Results []result }](ctx, c,
			operation{http.MethodPost, "/claim", nil, body})
		made := len(answer.Results)
		if err == nil && (made == 0 || made > n) {
			err = errResults
		}
		if err != nil {
			made = n
		}
		for i, x := range rest[:made] {
			result := backends.ClaimResult{Err: err}
			if err == nil {
				result = answer.Results[i].decode(len(x.From))
			}
			result.Err = lacks(result.Err, x.Mailbox, storesOf(x)...)
			results = append(results, result)
		}
	}
	return results
}

func storesOf(c backends.Claim) (names []string) {
	for _, from := range c.From {
		names = append(names, from.Store)
	}
	return names
}

// bodyOf returns the body of the first claims, as many as a server accepts, and their number.
func bodyOf(all []backends.Claim) (b []byte, n int) {
	b = []byte(`{"claims":[`)
	for _, x := range all[:min(len(all), maxClaims)] {
		one := claim{ID: x.ID, Mailbox: x.Mailbox}
		for _, f := range x.From {
			one.From = append(one.From, from{f.Store, f.Limit})
		}
		longer := appendJSON(b, one)
		if n > 0 && len(longer)+len("]}") > smallBody {
			break
		}
		b = append(longer, ',')
		n++
	}
	return append(b[:len(b)-1], "]}"...), n
}

// Extend implements [backends.Backend].
func (c *Client) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	if x.Codec == "" {
		x.Payload = nil
	}
	answer, err := tell[lease](ctx, c, x.ID, "/extend", queryOf(x.Store, "mailbox", x.Mailbox),
		message{Attempt: x.Attempt, StartedAt: x.StartedAt, Codec: x.Codec, Release: x.Release,
			AfterMicros: x.After.Microseconds()}, x.Payload)
	return backends.Lease(answer), err
}

// Cancel implements [backends.Backend]. The server's policy decides about the grace.
func (c *Client) Cancel(ctx context.Context, x backends.Cancel) (backends.Record, error) {
	answer, err := tell[record](ctx, c, x.ID, "/cancel", queryOf(x.Store),
		message{Outcome: x.Outcome, Reason: x.Error}, nil)
	return answer.decode(), err
}

// End implements [backends.Backend].
func (c *Client) End(ctx context.Context, x backends.End) (backends.Record, error) {
	answer, err := tell[record](ctx, c, x.ID, "/end", queryOf(x.Store, "mailbox", x.Mailbox),
		message{Attempt: x.Attempt, StartedAt: x.StartedAt, Outcome: x.Outcome, Reason: x.Error,
			Codec: x.Codec}, x.Payload)
	return answer.decode(), err
}

// List implements [backends.Lister]. It returns [errors.ErrUnsupported] if the server's backend
// cannot list.
func (c *Client) List(ctx context.Context, store, mailbox, after string, limit int) (
	backends.Page, error) {
	answer, err := ask[requests](ctx, c, operation{http.MethodGet, "/requests", queryOf(store,
		"mailbox", mailbox, "after", after, "limit", strconv.Itoa(limit)), nil})
	recs, errs := answer.decode()
	return backends.Page{Records: recs, Errs: errs, Next: answer.Next}, lacks(err, mailbox, store)
}

// Mailboxes implements [backends.Lister], as List does.
func (c *Client) Mailboxes(ctx context.Context, store, after string, limit int) (
	backends.MailboxPage, error) {
	answer, err := ask[mailboxes](ctx, c, operation{http.MethodGet, "/mailboxes",
		queryOf(store, "after", after, "limit", strconv.Itoa(limit)), nil})
	return backends.MailboxPage(answer), err
}
