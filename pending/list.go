package pending

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/pendingq/pendingq/backends"
)

// ListOptions say which page of live requests List returns. The zero value is the first page.
type ListOptions struct {
	After string // Page.Next of the page before; "": the first page
	Limit int    // how many requests at most, 1 to 100. Default: 100
}

// Page is a page of live requests.
type Page[T any] struct {
	Requests []*Request[T] // the oldest first
	Next     string        // ListOptions.After for the next page; "" if this is the last one
}

// List returns live requests of a mailbox, those that wait and those that run, the oldest first
// within the page. A page may have fewer requests than the limit although others follow. A request
// that changes meanwhile may come twice or not at all.
//
// A page may come together with an error, a joined [DecodeError] for each request that cannot be
// read. List returns [errors.ErrUnsupported] if the backend cannot list.
func (s *PendingStore[T]) List(
	ctx context.Context, mailbox string, opts ListOptions) (*Page[T], error) {
	const operation = "list"
	limit := cmp.Or(opts.Limit, maxLimit)
	err := checkMailbox(mailbox)
	if err == nil {
		err = checkLimit(limit)
	}
	if err != nil {
		return nil, s.failed(operation, "", err)
	}
	lister, ok := backends.As[backends.Lister](s.backend)
	if !ok {
		return nil, s.failed(operation, "",
			fmt.Errorf("%w: the backend (%T) has no List", errors.ErrUnsupported, s.backend))
	}
	listed, err := lister.List(ctx, s.policy.Name, mailbox, opts.After, limit)
	if err != nil {
		return nil, s.failed(operation, "for "+strconv.Quote(mailbox), err)
	}
	page := &Page[T]{Next: listed.Next}
	for _, problem := range listed.Errs {
		err = errors.Join(err, s.failed(operation, "", problem))
	}
	for _, rec := range listed.Records {
		r, decodeErr := s.request(rec)
		if decodeErr != nil {
			err = errors.Join(err, decodeErr)
			continue
		}
		page.Requests = append(page.Requests, r)
	}
	slices.SortStableFunc(page.Requests, func(x, y *Request[T]) int {
		return x.CreatedAt.Compare(y.CreatedAt)
	})
	return page, err
}
