// Package pendingotel observes pendingq with OpenTelemetry. [Instrument] wraps a backend. The
// stores over it then have metrics and traces. Nothing else changes:
//
//	b, err := pendingotel.Instrument(backend, nil)
//	...
//	reboots, err := pending.New(b, codec.JSON[Reboot](), policy)
//
// # Metrics
//
// No metric names a mailbox or an id, so the number of series depends only on the stores and
// their outcomes. All values are counted when an operation returns. A scrape never asks the
// backend. The counters are observable instruments, so they have no exemplars. The histograms have
// exemplars of sampled spans only: other values are gathered, and recorded in groups. If a View
// drops all counters, some values of the histograms are never recorded.
//
//	pendingq.operation.duration       histogram, s           by store, operation, error type
//	pendingq.request.created          counter, {request}     by store
//	pendingq.request.claimed          counter, {request}     by store, attempt
//	pendingq.request.ended            counter, {request}     by store, outcome
//	pendingq.request.expired          counter, {request}     by store, outcome, attempt
//	pendingq.request.wait.duration    histogram, s           by store
//	pendingq.request.run.duration     histogram, s           by store, outcome
//	pendingq.claim.empty              counter, {claim}       by store that a claim found empty
//	pendingq.watch.active             up-down counter, {watch}  by what is watched
//
// The attributes are:
//
//   - pendingq.store: the name of the store. After the first hundred, stores share _OTHER.
//   - pendingq.operation: create, get, has_pending, claim, claim_many, extend, progress, release,
//     cancel, end, list or mailboxes. A claim of several stores counts once for each. A claim_many
//     is many claims in one call, and counts once for each of its stores.
//   - error.type: missing on success. These are refusals: not_found, ended, stale_claim, busy,
//     full, invalid, too_large, unsupported, unauthorized and forbidden. The backend works, and the
//     last five are mistakes of the caller. The others are corrupt_record, canceled,
//     deadline_exceeded, too_many and _OTHER. Too_many means that the server of package remote is
//     busy. _OTHER is an error of the storage engine.
//   - pendingq.outcome: how the request ended: completed, failed, cancelled, timeout, or one that
//     the policy declares.
//   - pendingq.attempt: none if the request was never claimed, first for its first claim, again for
//     a later one.
//   - pendingq.watch.target: mailbox or request.
//
// # What the counts mean
//
// Wait and run times come from the backend's clock: from the create to the first claim, and from
// the latest claim to the end.
//
// Created, claimed and ended count each request once in the whole system. The node that did it
// counts it, and a repeat counts nothing, unless it comes in the same microsecond. If the reply to
// an operation is lost, no node counts it. Over package remote both sides would count: collect the
// metrics of one side.
// A Create in the caller's transaction (package postgres, InTx) counts at once, also if the
// transaction is rolled back.
//
// A timeout and an expired lease are derived: no operation writes them. So they count only when an
// operation reads them.
//
//   - pendingq.request.expired counts requests that this process read after their last deadline.
//     Each process counts a request once, among the last 4,096 of them. Two processes may count
//     the same request. A request that nobody reads counts nowhere.
//   - A claim with attempt "again" means that an earlier lease expired or was released. So these
//     claims, less the successful "release" operations, are about the expired leases that another
//     claim has followed. A lease that nobody claims again counts nowhere.
//
// # Traces
//
// A Create makes a span, unless the caller's span is not sampled and the headers of the request
// have no trace context. If the new span is sampled, its context travels as W3C trace context in
// the headers. A header "traceparent" of the caller stays as it is, and the span is linked to it.
// If the headers have no room, the context does not travel. A repeated Create keeps the first
// context, and its span is linked to it.
//
// Spans that are linked to the creator's span:
//
//   - claim: a claim that found requests. One span for each claim and store, however many requests.
//   - process: the work, by the backend's clock, from the latest claim to the end. It is made at
//     the end, and is the root of its trace.
//   - end or cancel: a call of End or Cancel.
//
// These spans are made if the creator's span was sampled, or if the caller's span is recorded. A
// sampler sees the links. If it does not sample a span that is linked to a sampled one, the trace
// has gaps.
//
// A claim that found nothing, a read, and an extended lease make no span. A handler links its own
// spans with [Link].
//
// # Cost
//
// No operation takes another round trip. An idle poll allocates nothing more, and neither does a
// create under a span that is not sampled. A create, a claim, an idle claim, an end and a get
// together take about 2 µs more processor time. If the create is sampled they take about 20 µs
// and make 67 allocations. These are medians of many short runs without an engine, on a shared
// machine of two cores. More than half of the 2 µs is the SDK's own work.
//
// Over an engine the whole costs more: the rest of the program pushes this code out of the
// processor's caches. BenchmarkInstrumented compares over Redis, which shared the machine, with 64
// callers:
//
//	spans sampled    throughput    processor time of the node
//	none             3 % lower     7 % more
//	one in 100       4 % lower     9 % more
//	all              20 % lower    57 % more
package pendingotel
