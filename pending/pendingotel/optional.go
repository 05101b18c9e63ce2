package pendingotel

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/pendingq/pendingq/backends"
)

// optional returns a chain of backends that ends with b. Before b there is one backend for each
// optional interface of b, which observes that interface. So [backends.As] finds the interfaces of
// b, and no others.
func optional(b backends.Backend, o *observer) backends.Backend {
	chain := b
	if many, ok := backends.As[backends.ManyClaimer](b); ok {
		chain = &manyClaimer{chain, many, o}
	}
	if lister, ok := backends.As[backends.Lister](b); ok {
		chain = &listing{chain, lister, o}
	}
	if waker, ok := backends.As[backends.Waker](b); ok {
		chain = &waking{chain, waker, o}
	}
	return chain
}

type manyClaimer struct {
	backends.Backend
	many backends.ManyClaimer
	*observer
}

func (b *manyClaimer) Unwrap() backends.Backend { return b.Backend }

func (b *manyClaimer) ClaimMany(
	ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	call := begin(ctx, opClaimMany)
	results := b.many.ClaimMany(ctx, claims)
	b.claims(call.done(), claims, results)
	return results
}

type listing struct {
	backends.Backend
	lister backends.Lister
	*observer
}

func (b *listing) Unwrap() backends.Backend { return b.Backend }

func (b *listing) List(
	ctx context.Context, store, mailbox, after string, limit int) (backends.Page, error) {
	call := begin(ctx, opList)
	page, err := b.lister.List(ctx, store, mailbox, after, limit)
	b.of(store).observe(call.done(), firstError(err, page.Errs))
	return page, err
}

func (b *listing) Mailboxes(
	ctx context.Context, store, after string, limit int) (backends.MailboxPage, error) {
	call := begin(ctx, opMailboxes)
	page, err := b.lister.Mailboxes(ctx, store, after, limit)
	b.of(store).observe(call.done(), err)
	return page, err
}

type waking struct {
	backends.Backend
	waker backends.Waker
	*observer
}

func (b *waking) Unwrap() backends.Backend { return b.Backend }

var (
	watchesMailbox = targetOption("mailbox")
	watchesRequest = targetOption("request")
)

func targetOption(target string) []metric.AddOption {
	set := attribute.NewSet(attribute.String("pendingq.watch.target", target))
	return []metric.AddOption{metric.WithAttributeSet(set)}
}

func (b *waking) WatchMailbox(ctx context.Context, mailbox string) (<-chan struct{}, func()) {
	signal, stop := b.waker.WatchMailbox(ctx, mailbox)
	return signal, b.watch(ctx, watchesMailbox, stop)
}

func (b *waking) WatchRequest(ctx context.Context, id string) (<-chan struct{}, func()) {
	signal, stop := b.waker.WatchRequest(ctx, id)
	return signal, b.watch(ctx, watchesRequest, stop)
}

// watch counts a watch until it is stopped.
func (b *waking) watch(ctx context.Context, target []metric.AddOption, stop func()) func() {
	ctx = context.WithoutCancel(ctx)
	b.watches.Add(ctx, 1, target...)
	return sync.OnceFunc(func() {
		b.watches.Add(ctx, -1, target...)
		stop()
	})
}

func (b *waking) PollInterval() time.Duration { return b.waker.PollInterval() }
