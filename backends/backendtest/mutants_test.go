package backendtest

import (
	"context"
	"slices"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/effort"
)

// sketchFaults are the faults of the sketch. The case beside a fault has to find it.
var sketchFaults = []struct{ fault, caught string }{
	// The clock.
	{"Get reads the clock after its snapshot of the record",
		"no end follows a timeout that was read"},
	{"End reads the clock before it takes the lock",
		"no end follows a timeout that was read"},
	{"Cancel reads the clock before it takes the lock",
		"no cancel follows a timeout that was read"},
	{"Extend reads the clock before it takes the lock",
		"no extension follows a timeout that was read"},
	{"Claim reads the clock before it takes the lock",
		"no claim follows a timeout that was read"},
	{"a request is not live at its deadline",
		"a request is live until its deadline, that microsecond included"},
	{"ReadAt is not set",
		"a record has the time at which it was read"},
	{"ReadAt of an ended record is now",
		"a record has the time at which it was read"},
	{"times are local",
		"times are whole microseconds in UTC"},
	{"times have nanoseconds",
		"times are whole microseconds in UTC"},

	// Operations that collide.
	{"a create is not atomic",
		"64 callers never overfill a mailbox or share an exclusive one"},
	{"a claim is not atomic",
		"64 claimers of one request: one wins"},
	{"an end is not atomic",
		"64 endings at once: one wins"},
	{"a cancel is not atomic",
		"no cancel follows a timeout that was read"},

	// Lists.
	{"a list has other mailboxes", "a list has each live request once, as Get shows it"},
	{"a list has ended requests", "a list has each live request once, as Get shows it"},
	{"a list misses running requests", "a list has each live request once, as Get shows it"},
	{"a list has only one page", "a list has each live request once, as Get shows it"},
	{"a page has no limit", "a list has each live request once, as Get shows it"},
	{"a list of mailboxes has only one page",
		"a list of mailboxes has each with live requests"},

	// What is refused.
	{"full comes before busy",
		"a mailbox that is busy and full is busy"},
	{"a full mailbox counts running requests",
		"a full mailbox counts only claimable requests"},
	{"exclusive does not count running requests",
		"exclusive counts a request that was claimed without Exclusive"},
	{"exclusive does not count an expired lease",
		"exclusive counts an expired lease that has attempts left"},
	{"exclusive does not count a noted cancel",
		"a noted cancel keeps the mailbox busy and the claim remembered"},
	{"exclusive counts a cancelled request after its grace",
		"when the grace is over the request reads as the outcome, and no attempt follows"},

	// Claims and their repeats.
	{"a repeated create shows the record as stored",
		"a repeated create returns the request as it reads now"},
	{"the oldest request comes first",
		"the request whose last deadline is the earliest comes first"},
	{"the next attempt keeps StartedAt of the first",
		"when a lease expires the request reads as pending and can be claimed again"},
	{"HasPending does not see an expired lease",
		"a policy with fewer attempts removes no attempt"},
	{"Claim skips requests with the claimer's MaxAttempts",
		"a policy with fewer attempts removes no attempt"},
	{"the limit of a claim's first store is the limit of all",
		"each store of a claim has its own limit"},
	{"a claim is never remembered",
		"a repeated claim returns the same requests and claims no more"},
	{"a claim id is remembered for ever",
		"a claim is forgotten after its latest deadline"},
	{"a claim is remembered until its earliest deadline",
		"a repeated claim leaves out an expired lease and a request of a later claim"},
	{"a claim is not remembered when its first store was empty",
		"a claim is remembered although its first store was empty"},
	{"a claim that found nothing is remembered",
		"a claim that found nothing is not remembered"},
	{"a repeated claim goes by the id alone",
		"a repeated claim leaves out a request that was created again under its id"},
	{"a repeated claim returns requests of a later claim",
		"a repeated claim leaves out an expired lease and a request of a later claim"},
	{"a repeated claim leaves out a noted cancel",
		"a noted cancel keeps the mailbox busy and the claim remembered"},

	// Mailboxes and their names.
	{"an Extend believes its hint", "an extension moves no request, whatever its hint"},
	{"a release believes its hint", "an extension moves no request, whatever its hint"},
	{"large progress believes its hint", "an extension moves no request, whatever its hint"},
	{"a noted cancel believes its hint", "a cancel finds its request, whatever its hint"},
	{"a cancel without a grace believes its hint", "a cancel finds its request, whatever its hint"},
	{"mailboxes have no letter case",
		"a mailbox gets no request of another mailbox, whatever its name"},

	// Large arguments.
	{"a pending timeout has 32 bits of milliseconds", "each time may be ten years"},
	{"a running timeout has 32 bits of milliseconds", "each time may be ten years"},
	{"a retention has 32 bits of milliseconds", "each time may be ten years"},
	{"a grace has 32 bits of milliseconds", "each time may be ten years"},
	{"a pause has 32 bits of milliseconds", "each time may be ten years"},
	{"an attempt has two digits", "attempts are counted past a hundred"},
	{"a store has 16 bytes",
		"the names of stores, codecs and outcomes may have their full length"},
	{"a codec has 16 bytes",
		"the names of stores, codecs and outcomes may have their full length"},
	{"an answer's codec has 16 bytes",
		"the names of stores, codecs and outcomes may have their full length"},
	{"an outcome has 16 bytes",
		"the names of stores, codecs and outcomes may have their full length"},
	{"a noted outcome has 16 bytes",
		"the names of stores, codecs and outcomes may have their full length"},

	// How long a record lives.
	{"an end never makes a record live longer",
		"an ended record lives by the terms of its end, however short its lease was"},
	{"a cancel never makes a record live longer",
		"an ended record lives by the terms of its end, however short its lease was"},
	{"an end keeps the record's expiry",
		"an ended request stays readable, then disappears"},
	{"a cancel keeps the record's expiry",
		"a request that a cancel ended stays readable, then disappears"},
	{"a record never disappears",
		"an ended request stays readable, then disappears"},
	{"an ended record disappears at once",
		"an ended request stays readable, then disappears"},
	{"an Extend does not move the record's expiry",
		"an extended request lives on, and so does its record"},
	{"a release does not move the record's expiry",
		"a released request keeps its record and its payload until it is claimed again"},
	{"a noted cancel does not move the record's expiry",
		"a cancelled record outlives its deadline by Retention"},

	// Extend.
	{"an expired lease can be extended",
		"an expired lease cannot be extended"},
	{"an Extend keeps the last deadline of the claim",
		"the terms of an extension decide whether another attempt follows"},
	{"an Extend moves a grace deadline",
		"a cancel with a grace is noted, and the worker's result wins"},
	{"an extension without progress loses the payload",
		"an extension stores a payload only with a codec"},
	{"a payload without a codec is stored",
		"an extension stores a payload only with a codec"},
	{"refused progress is stored",
		"refused progress is not stored"},
	{"an expired lease cannot be released",
		"a lease that has expired may be released"},
	{"a released request cannot be claimed",
		"a released request can be claimed at once, with its next attempt"},
	{"a release forgets its pause",
		"a request that is released with a pause can be claimed only after the pause"},
	{"a release stores no progress",
		"a release may store progress"},
	{"anyone may release",
		"a release needs the attempt that is stored"},
	{"a release ignores a noted cancel",
		"a release does not change a noted cancel"},

	// The claim of an earlier request.
	{"an Extend goes by the attempt alone",
		"a worker of an earlier request cannot change one that was created again under its id"},
	{"an End goes by the attempt alone",
		"a worker of an earlier request cannot change one that was created again under its id"},

	// Cancel.
	{"a grace makes a lease longer",
		"a grace never makes a lease longer"},
	{"a cancel leaves a grace to an expired lease",
		"a request that does not run ends at once, also with a grace"},
	{"an attempt follows a grace",
		"when the grace is over the request reads as the outcome, and no attempt follows"},
	{"an attempt follows a grace that is longer than the lease",
		"a grace never makes a lease longer"},
	{"every cancel that was noted reads as cancelled",
		"when the grace is over the request reads as the outcome, and no attempt follows"},
	{"a noted cancel does not change UpdatedAt",
		"a cancel with a grace is noted, and the worker's result wins"},
	{"a noted cancel cannot be overruled",
		"a cancel without a grace overrules a noted one"},
	{"a second cancel changes the outcome",
		"a second cancel with a grace changes nothing"},
	{"a second cancel changes the reason",
		"a second cancel with a grace changes nothing"},
	{"a second cancel moves the deadline",
		"a second cancel with a grace changes nothing"},
	{"a second cancel changes UpdatedAt",
		"a second cancel with a grace changes nothing"},
	{"Cancel returns the payload",
		"a cancel with a grace is noted, and the worker's result wins"},
	{"Cancel returns an older UpdatedAt",
		"a cancel with a grace is noted, and the worker's result wins"},
	{"Cancel returns the record as it was before",
		"a cancel with a grace is noted, and the worker's result wins"},

	// End.
	{"an end does not change UpdatedAt",
		"an end stores its outcome, answer and time"},
	{"an end moves the deadlines",
		"an end stores its outcome, answer and time"},
	{"an end keeps a noted cancel",
		"a cancel with a grace is noted, and the worker's result wins"},
	{"an expired lease cannot be ended",
		"a worker may end its request after its lease expired, until the next claim"},
	{"an unclaimed request cannot be ended",
		"a request may end before any claim, and then leaves the queue"},
	{"any attempt may end a request",
		"an end needs the attempt that is stored"},
	{"End returns the payload",
		"an end stores its outcome, answer and time"},
	{"End returns an older UpdatedAt",
		"an end stores its outcome, answer and time"},
	{"an error ends at a NUL",
		"an error text is kept byte for byte"},
	{"a cancel reason ends at a NUL",
		"an error text is kept byte for byte"},

	// Headers.
	{"a claim loses the headers",
		"every record of a request has its headers"},
	{"progress loses the headers",
		"every record of a request has its headers"},
	{"a release loses the headers",
		"every record of a request has its headers"},
	{"a cancel loses the headers",
		"every record of a request has its headers"},
	{"an end loses the headers",
		"an EndedError's record has its headers"},
	{"Cancel returns no headers",
		"every record of a request has its headers"},
	{"End returns no headers",
		"every record of a request has its headers"},

	// What a caller shares with the store.
	{"Create keeps the caller's payload",
		"payloads and headers are copied in and out"},
	{"Create keeps the caller's headers",
		"payloads and headers are copied in and out"},
	{"Extend keeps the caller's payload",
		"payloads and headers are copied in and out"},
	{"End keeps the caller's payload",
		"payloads and headers are copied in and out"},
	{"a returned payload is shared with the store",
		"payloads and headers are copied in and out"},
	{"a returned header map is shared with the store",
		"payloads and headers are copied in and out"},

	// Waking.
	{"a watched mailbox gives no signal",
		"a new request wakes every watcher of its mailbox"},
	{"a watched request gives no signal",
		"an end wakes every watcher of its request"},
	{"an expired lease sends no signal, without polling",
		"an expired lease wakes the watchers of its mailbox, if they do not poll"},
	{"progress sends no signal",
		"progress, a noted cancel and a release wake the watchers of their request"},
	{"a release sends no signal",
		"progress, a noted cancel and a release wake the watchers of their request"},
	{"a noted cancel sends no signal",
		"progress, a noted cancel and a release wake the watchers of their request"},
	{"an end sends no signal",
		"an end wakes every watcher of its request"},
}

func TestTheSuiteFindsEachFault(t *testing.T) {
	for _, m := range effort.Plain(effort.Third(sketchFaults), sketchFaults) {
		t.Run(m.fault, func(t *testing.T) {
			wantFailure(t, m.caught, func() backends.Backend { return newSketch(m.fault) })
		})
	}
}

// The suite finds the faults and the optional interfaces of a Backend inside a decorator.
func TestTheSuiteLooksThroughDecorators(t *testing.T) {
	wantFailure(t, "a new request wakes every watcher of its mailbox", func() backends.Backend {
		return decorator{newSketch("a watched mailbox gives no signal")}
	})
	wantFailure(t, "many claims get the same results as single claims, in their order",
		func() backends.Backend {
			return decorator{manyFault{oneByOne{memory.New()}, swapResults}}
		})
}

func TestTheSuiteFindsEachFaultOfManyClaims(t *testing.T) {
	for name, m := range map[string]struct {
		claim  func(oneByOne, context.Context, []backends.Claim) []backends.ClaimResult
		caught string
	}{
		"the results are swapped": {swapResults,
			"many claims get the same results as single claims, in their order"},
		"a repeat claims more": {forgetIDs,
			"many claims get the same results as single claims, in their order"},
		"all claims are one": {shareOneID, "many claims of one mailbox get different requests"},
		"a context that has ended is ignored": {ignoreContext,
			"many claims whose context has ended do nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			wantFailure(t, m.caught, func() backends.Backend {
				return manyFault{oneByOne{memory.New()}, m.claim}
			})
		})
	}
}

// wantFailure runs the case with this name. The case has to fail.
func wantFailure(t *testing.T, name string, open func() backends.Backend) {
	t.Helper()
	cases := allCases()
	place := slices.IndexFunc(cases, func(c testCase) bool { return c.name == name })
	if place < 0 {
		t.Fatalf("the suite has no case %q", name)
	}
	got := record(t, cases[place], open)
	if len(got.reports) == 0 {
		t.Fatalf("the case %q finds no fault", name)
	}
	t.Logf("the case reports: %s", got.reports[0])
}

// manyFault is a ManyClaimer with a fault.
type manyFault struct {
	oneByOne
	claim func(oneByOne, context.Context, []backends.Claim) []backends.ClaimResult
}

func (m manyFault) ClaimMany(
	ctx context.Context, claims []backends.Claim,
) []backends.ClaimResult {
	return m.claim(m.oneByOne, ctx, claims)
}

func swapResults(
	o oneByOne, ctx context.Context, claims []backends.Claim,
) []backends.ClaimResult {
	results := o.ClaimMany(ctx, claims)
	slices.Reverse(results)
	return results
}

func forgetIDs(o oneByOne, ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	claims = slices.Clone(claims)
	for i := range claims {
		claims[i].ID = backends.NewID(claims[i].Mailbox)
	}
	return o.ClaimMany(ctx, claims)
}

func shareOneID(o oneByOne, ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	claims = slices.Clone(claims)
	for i := range claims {
		claims[i].ID = claims[0].ID
	}
	return o.ClaimMany(ctx, claims)
}

func ignoreContext(
	o oneByOne, ctx context.Context, claims []backends.Claim,
) []backends.ClaimResult {
	return o.ClaimMany(context.WithoutCancel(ctx), claims)
}
