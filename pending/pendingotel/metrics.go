package pendingotel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/check"
)

const (
	storeKey     = attribute.Key("pendingq.store")
	operationKey = attribute.Key("pendingq.operation")
	outcomeKey   = attribute.Key("pendingq.outcome")
	attemptKey   = attribute.Key("pendingq.attempt")
	errorKey     = attribute.Key("error.type")
)

// metrics are the instruments of a backend.
type metrics struct {
	operations, waits, runs                 metric.Float64Histogram
	created, claimed, ended, expired, empty metric.Int64ObservableCounter
	watches                                 metric.Int64UpDownCounter

	stores   atomic.Pointer[map[string]*storeMetrics] // replaced when a store is added
	mu       sync.Mutex                               // held to replace stores, and for counts
	counts   []*count
	values   *gatherer
	timeouts recent // expired requests that have been counted
}

// Buckets are in seconds. An operation takes 50 µs to 10 s. A request waits and runs for
// milliseconds to a day.
var (
	operationBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05,
		.1, .25, .5, 1, 2.5, 5, 10}
	requestBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300,
		600, 1800, 3600, 21600, 86400}
)

func newMetrics(meter metric.Meter) (*metrics, error) {
	m := &metrics{values: newGatherer()}
	m.stores.Store(&map[string]*storeMetrics{})
	var errs []error
	histogram := func(name, what string, buckets []float64) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what),
			metric.WithExplicitBucketBoundaries(buckets...))
		errs = append(errs, err)
		return h
	}
	counter := func(name, unit, what string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit),
			metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	m.operations = histogram("pendingq.operation.duration",
		"Duration of operations of the backend.", operationBuckets)
	m.waits = histogram("pendingq.request.wait.duration",
		"Time from the create of a request to its first claim.", requestBuckets)
	m.runs = histogram("pendingq.request.run.duration",
		"Time from the latest claim of a request to its end.", requestBuckets)
	m.created = counter("pendingq.request.created", "{request}", "Requests created.")
	m.claimed = counter("pendingq.request.claimed", "{request}", "Requests claimed.")
	m.ended = counter("pendingq.request.ended", "{request}",
		"Requests ended by a worker or a requester.")
	m.expired = counter("pendingq.request.expired", "{request}",
		"Requests that this process has read after their last deadline.")
	m.empty = counter("pendingq.claim.empty", "{claim}", "Claims that found nothing.")
	var err error
	m.watches, err = meter.Int64UpDownCounter("pendingq.watch.active", metric.WithUnit("{watch}"),
		metric.WithDescription("Waiters that watch for a change."))
	errs = append(errs, err)
	_, err = meter.RegisterCallback(m.scrape, m.created, m.claimed, m.ended, m.expired, m.empty)
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("pendingotel: make the metrics: %w", err)
	}
	return m, nil
}

// operation is an operation of a backend.
type operation int

const (
	opCreate operation = iota
	opGet
	opHasPending
	opClaim
	opClaimMany
	opExtend
	opProgress
	opRelease
	opCancel
	opEnd
	opList
	opMailboxes
	operations
)

var operationNames = [operations]string{"create", "get", "has_pending", "claim", "claim_many",
	"extend", "progress", "release", "cancel", "end", "list", "mailboxes"}

// class is a class of errors: an index of errorClasses.
type class int

const (
	classNone    class = 0
	classCorrupt class = 6
	classOther         = class(len(errorClasses) - 1)
)

// errorClasses have a value of error.type, and the target of errors.Is, unless classOf itself knows
// the class. After a refusal the backend works: the operation does not suit the state of the
// request or its mailbox, or the caller has made a mistake.
var errorClasses = [...]struct {
	name    string
	target  error
	refusal bool
}{
	classNone: {},
	{"not_found", backends.ErrNotFound, true},
	{"ended", backends.ErrEnded, true},
	{"stale_claim", backends.ErrStaleClaim, true},
	{"busy", backends.ErrBusy, true},
	{"full", backends.ErrFull, true},
	classCorrupt: {name: "corrupt_record"},
	{"invalid", check.ErrInvalid, true},
	{"too_large", codec.ErrTooLarge, true},
	{"unsupported", errors.ErrUnsupported, true},
	{"unauthorized", remote.ErrUnauthorized, true},
	{"forbidden", remote.ErrForbidden, true},
	{"too_many", remote.ErrTooMany, false},
	{"canceled", context.Canceled, false},
	{"deadline_exceeded", context.DeadlineExceeded, false},
	{name: "_OTHER"},
}

func classOf(err error) class {
	if err == nil {
		return classNone
	}
	for c, known := range errorClasses {
		if known.target != nil && errors.Is(err, known.target) {
			return class(c)
		}
	}
	if _, ok := errors.AsType[*backends.CorruptError](err); ok {
		return classCorrupt
	}
	return classOther
}

// firstError returns err, or the first error of records that had to be skipped.
func firstError(err error, passedOver []error) error {
	if err == nil && len(passedOver) > 0 {
		return passedOver[0]
	}
	return err
}

// storeMetrics are the metrics with the attributes of one store. They are made once, so that an
// observation does not allocate.
type storeMetrics struct {
	all            *metrics
	store          attribute.KeyValue
	waits          *times
	durations      [operations][len(errorClasses)]*times
	created, empty *count
	claimed        [len(attempts)]*count
	outcomes       sync.Map // from the outcome to its *outcomeMetrics
}

// outcomeMetrics are the metrics with the attributes of one store and outcome.
type outcomeMetrics struct {
	runs    *times
	ended   *count
	expired [len(attempts)]*count
}

// attempts are the attributes of a request by attemptOf.
var attempts = [...]attribute.KeyValue{
	attemptKey.String("none"), attemptKey.String("first"), attemptKey.String("again")}

// attemptOf is 0, 1, or 2 for a later attempt. A server of package remote may send any number.
func attemptOf(rec *backends.Record) int { return max(0, min(rec.Attempt, 2)) }

// maxStores is how many stores have metrics of their own. The others share one name. An SDK keeps
// 2,000 series of an instrument by default, and a store usually has fewer than 20 of durations.
const maxStores = 100

// of returns the metrics of a store.
func (m *metrics) of(store string) *storeMetrics {
	if s := (*m.stores.Load())[store]; s != nil {
		return s
	}
	return m.addStore(store)
}

func (m *metrics) addStore(store string) *storeMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	stores := *m.stores.Load()
	if len(stores) >= maxStores {
		store = "_OTHER"
	}
	if s := stores[store]; s != nil {
		return s
	}
	s := &storeMetrics{all: m, store: storeKey.String(store)}
	s.waits = newTimes(m.waits, s.store)
	s.created, s.empty = m.newCount(m.created, s.store), m.newCount(m.empty, s.store)
	for op := range operations {
		for c, known := range errorClasses {
			attributes := []attribute.KeyValue{s.store, operationKey.String(operationNames[op])}
			if known.name != "" {
				attributes = append(attributes, errorKey.String(known.name))
			}
			s.durations[op][c] = newTimes(m.operations, attributes...)
		}
	}
	for i, attempt := range attempts {
		s.claimed[i] = m.newCount(m.claimed, s.store, attempt)
	}
	stores = maps.Clone(stores)
	stores[store] = s
	m.stores.Store(&stores)
	return s
}

// outcome returns the metrics of an outcome.
func (s *storeMetrics) outcome(status string) *outcomeMetrics {
	if o, ok := s.outcomes.Load(status); ok {
		return o.(*outcomeMetrics)
	}
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if o, ok := s.outcomes.Load(status); ok {
		return o.(*outcomeMetrics)
	}
	outcome := outcomeKey.String(status)
	o := &outcomeMetrics{runs: newTimes(s.all.runs, s.store, outcome),
		ended: s.all.newCount(s.all.ended, s.store, outcome)}
	for i, attempt := range attempts {
		o.expired[i] = s.all.newCount(s.all.expired, s.store, outcome, attempt)
	}
	s.outcomes.Store(status, o)
	return o
}

// took returns the duration of a call. If its error has a request that has expired, took counts the
// request.
func (s *storeMetrics) took(c *call, err error) value {
	if ended, ok := errors.AsType[*backends.EndedError](err); ok {
		s.sawExpired(&ended.Record)
	}
	return value{s.durations[c.op][classOf(err)], c.took}
}

// observe records what took returns.
func (s *storeMetrics) observe(c *call, err error) { s.all.values.record(c, s.took(c, err)) }

// hasClaimed counts a request that a claim returned, and appends how long it waited. A repeat of
// the claim counts nothing.
func (s *storeMetrics) hasClaimed(values []value, rec *backends.Record) []value {
	if !rec.StartedAt.Equal(rec.ReadAt) {
		return values
	}
	s.claimed[attemptOf(rec)].Add(1)
	if rec.Attempt == 1 {
		values = append(values, value{s.waits, max(0, rec.StartedAt.Sub(rec.CreatedAt))})
	}
	return values
}

// hasEnded counts a request that an operation has just ended, and appends how long it ran.
func (s *storeMetrics) hasEnded(values []value, rec *backends.Record) []value {
	o := s.outcome(rec.Status)
	o.ended.Add(1)
	if !rec.StartedAt.IsZero() {
		values = append(values, value{o.runs, ran(rec)})
	}
	return values
}

// ran is how long an ended request ran since its latest claim, or 0 if the backend's clock was set
// back meanwhile.
func ran(rec *backends.Record) time.Duration { return max(0, rec.UpdatedAt.Sub(rec.StartedAt)) }

// sawExpired counts a request that has expired. ReadAt is then after UpdatedAt. For a request that
// an operation ended, they are equal.
func (s *storeMetrics) sawExpired(rec *backends.Record) {
	if rec.Ended() && rec.ReadAt.After(rec.UpdatedAt) && s.all.timeouts.add(rec) {
		s.outcome(rec.Status).expired[attemptOf(rec)].Add(1)
	}
}

// tally is the result of one call of Claim or ClaimMany in one store.
type tally struct {
	*storeMetrics
	nothing int64 // how many claims found nothing
	err     error // the first error
}

// claims observes the claims of one call.
func (o *observer) claims(c *call, claims []backends.Claim, results []backends.ClaimResult) {
	var fewTallies [8]tally // on the stack
	var fewValues [8]value
	tallies, values := fewTallies[:0], fewValues[:0]
	for i := range claims {
		for j := range claims[i].From {
			store, at := claims[i].From[j].Store, 0
			s := o.of(store)
			for at < len(tallies) && tallies[at].storeMetrics != s {
				at++
			}
			if at == len(tallies) {
				tallies = append(tallies, tally{storeMetrics: s})
			}
			t := &tallies[at]
			if err := results[i].Err; err != nil {
				t.err = cmp.Or(t.err, err)
				continue
			}
			claimed := &results[i].Claimed[j]
			values = t.add(values, claimed)
			o.traceClaim(c, store, claimed)
		}
	}
	for i := range tallies {
		t := &tallies[i]
		values = append(values, t.took(c, t.err))
		if t.nothing > 0 {
			t.empty.Add(t.nothing)
		}
	}
	o.values.record(c, values...)
}

// add adds what a claim found in the store, and appends how long each request waited.
func (t *tally) add(values []value, claimed *backends.Claimed) []value {
	t.err = firstError(t.err, claimed.Errs)
	if len(claimed.Records) == 0 && len(claimed.Errs) == 0 {
		t.nothing++
	}
	for i := range claimed.Records {
		values = t.hasClaimed(values, &claimed.Records[i])
	}
	return values
}
