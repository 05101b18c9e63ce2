package mutations_test

// The tests that notice the mutations of PostgreSQL. The name of a case follows inSuite.
const (
	inSuite   = "backends/postgres:TestConformance/"
	byLocks   = "backends/postgres:TestAnOperationWaitsForExactlyTheLocksThatItNeeds"
	bySeenEnd = "backends/postgres:TestGetSeesTheEndForWhichItHasWaited"
	bySeen    = "backends/postgres:TestEndSeesTheExtensionForWhichItHasWaited"
	byExpired = "backends/postgres:TestAnExpiredRequestIsGoneBeforeItIsSwept"
	byLife    = "backends/postgres:TestARecordOutlivesItsLastDeadline"
	byMemo    = "backends/postgres:TestAnExpiredMemoIsForgottenBeforeItIsSwept"
	bySweep   = "backends/postgres:TestTheSweepFreesOnlyWhatHasExpired"
	byHeap    = "backends/postgres:TestClaimsAndExtensionsStayHeapOnly"
	byArrival = "backends/postgres:TestALongTransactionMakesNoRequestDeadOnArrival"
	byCommit  = "backends/postgres:TestACommitIsRefusedWhenOthersCameFirst"

	busy      = inSuite + "an exclusive mailbox has one live request"
	countsCap = inSuite + "a full mailbox counts only claimable requests"
	isPending = inSuite + "HasPending reports exactly whether a claim would get a request"
	expires   = inSuite +
		"when a lease expires the request reads as pending and can be claimed again"
	endsLate = inSuite +
		"a worker may end its request after its lease expired, until the next claim"
	graceOver = inSuite +
		"when the grace is over the request reads as the outcome, and no attempt follows"
	noted       = inSuite + "a cancel with a grace is noted, and the worker's result wins"
	repeatClaim = inSuite + "a repeated claim returns the same requests and claims no more"
	leavesOut   = inSuite +
		"a repeated claim leaves out an expired lease and a request of a later claim"
	final      = inSuite + "an ended request never changes again"
	timedOut   = inSuite + "a timed-out request never changes again"
	endAttempt = inSuite + "an end needs the attempt that is stored"
	endsAtOnce = inSuite + "a request that does not run ends at once, also with a grace"
	startedAt  = inSuite +
		"a worker of an earlier request cannot change one that was created again under its id"
	terms = inSuite + "the terms of an extension decide whether another attempt follows"
)

var postgresCreates = []mutation{
	{"exclusive", "IF false THEN", busy},
	{"exclusive-ended",
		"WHERE q.mailbox = box AND q.store = of AND q.last_deadline >= t", busy},
	{"exclusive-expired", "WHERE q.mailbox = box AND q.store = of AND q.live",
		inSuite + "a timed-out request frees an exclusive mailbox"},
	{"own-exclusive", "LIMIT 1;",
		"backends/postgres:TestARefusedCreateLeavesItsTransactionUsable"},
	{"cap", "IF false AND most <= (SELECT count(*) FROM (",
		inSuite + "a full mailbox refuses and stores nothing"},
	{"uncapped", "IF most <= (SELECT count(*) FROM (", busy},
	{"cap-ended",
		"WHERE q.mailbox = box AND q.store = of AND q.rank >= t AND q.last_deadline >= t",
		countsCap},
	{"cap-over", "WHERE q.mailbox = box AND q.store = of AND q.live AND q.rank >= t",
		countsCap},
	{"cap-running", "AND q.id <> refusal.id", countsCap},
	{"cap-lease", "AND q.status = 'pending' AND q.id <> refusal.id",
		inSuite + "a request with an expired lease counts towards a full mailbox, " +
			"a running one does not"},
	{"own-cap", "AND (q.status = 'pending' OR q.deadline < t)",
		"backends/postgres:TestALongTransactionHoldsNobodyUp"},
	{"isolation", "IF false THEN",
		"backends/postgres:TestARepeatableReadTransactionIsRefusedWhereItWouldBeWrong"},
	{"creators", "IF false THEN", byLocks},
	{"alone", "t := {s}.lock_to_add(part, false);", byLocks},
	{"repeat-expired", "WHERE q.store = of AND q.id = key;",
		"backends/postgres:TestAnIdThatHasExpiredIsNewToAnExclusiveStore"},
	{"repeat", "IF false THEN",
		inSuite + "a repeated create is answered before busy and full"},
	{"repeat-clock", "IF topic IS NULL THEN",
		"backends/postgres:TestACreateWithALimitHappensWhenTheLimitIsChecked"},
	{"arrives-again", "INSERT INTO {s}.arrival VALUES (of, key, exclusive, most, topic);",
		"backends/postgres:TestARepeatInATransactionMayComeAfterTheRequestExpired"},
	{"repeat-lock", "", byLocks},
	{"expired", "WHERE q.store = of AND q.id = key;", byExpired},
	{"arrive-jit", "SET enable_seqscan = off SET timezone = 'UTC'",
		"backends/postgres:TestACommitIsNotCompiled"},
	{"arrive-zone", "SET enable_seqscan = off SET jit = off",
		"backends/postgres:TestATimeZoneWithSummerTimeDoesNotMoveADeadlineAtTheCommit"},
	{"arrive-last-of-all", "IF false THEN",
		"backends/postgres:TestACommitThatWaitsForAnOpenTransactionHoldsNobodyUp"},
	{"arrive-lock", "t := {s}.lock_to_add(part, false);", byLocks},
	{"arrive-strongest", "a.exclusive OR a.most > 0 FROM {s}.arrival a ORDER BY 1, 2 LOOP",
		"backends/postgres:TestCommitsNeverDeadlock"},
	{"arrive-check", "IF false THEN", byCommit},
	{"arrive-created",
		"UPDATE {s}.request q SET updated = t, deadline = t + (q.deadline - q.created),",
		byArrival},
	{"arrive-deadline", "UPDATE {s}.request q SET created = t, updated = t,", byArrival},
	{"arrive-last", "rank = t + (q.deadline - q.created),", byArrival},
	{"arrive-rank", "last_deadline = t + (q.deadline - q.created),", byArrival},
	{"arrive-expires", "sweep = t + (q.expires - q.created)", byArrival},
	{"arrived", "", byArrival},
	{"wake", "",
		"backends/postgres:TestARequestIsVisibleWithItsCommitAndWakesTheWaiter"},
}

var postgresFunctions = []mutation{
	{"change-part", "SELECT CASE WHEN false", byLocks},
	{"change-id", "", byLocks},
	{"change-clock", "THEN NULL ELSE statement_timestamp() END", byLocks},
	{"read-part", "SELECT CASE WHEN false", byLocks},
	{"read-id", "", byLocks},
	{"read-clock", "THEN NULL ELSE statement_timestamp() END", byLocks},
	{"mailbox-part", "SELECT clock_timestamp()", byLocks},
	{"mailbox-clock", "SELECT CASE WHEN pg_advisory_xact_lock({key}, part) IS NULL THEN NULL " +
		"ELSE statement_timestamp() END", byLocks},
	{"add-alone", "SELECT CASE WHEN false", byLocks},
	{"add-part", "", byLocks},
	{"add-clock", "THEN NULL ELSE statement_timestamp() END", byLocks},
	{"get-lock", "t timestamptz := clock_timestamp();", byLocks},
	{"get-expired", "WHERE q.store = of AND q.id = key;", byExpired},
	{"pending-lock", "t timestamptz := clock_timestamp();", byLocks},
	{"pending-ended",
		"WHERE q.mailbox = box AND q.store = of AND q.rank >= t AND q.last_deadline >= t",
		endsLate},
	{"pending-over", "WHERE q.mailbox = box AND q.store = of AND q.live AND q.rank >= t",
		graceOver},
	{"pending-running", ");", isPending},
	{"pending-lease", "AND q.status = 'pending');", expires},
	{"claim-lock", "t timestamptz := clock_timestamp();", byLocks},
	{"first-over", "SELECT q.store, CASE WHEN true",
		inSuite + "a claim skips timed-out requests and takes the next one in the same call"},
	{"first-running", "THEN q.id END INTO first_store, first",
		inSuite + "64 claimers of one request: one wins"},
	{"first-order", "ORDER BY q.mailbox, q.store, q.rank DESC LIMIT 1;", byArrival},
	{"first-limit", "IF first IS NOT NULL AND first_store = stores[n] THEN",
		inSuite + "a claim keeps to its limit"},
	{"first-store", "IF limits[n] = 1 AND first IS NOT NULL THEN",
		inSuite + "one claim serves several stores"},
	{"claim-ended", "WHERE w.mailbox = box AND w.store = stores[n] AND w.rank >= t",
		inSuite + "an expired request that a claim has left out is pending and can be ended"},
	{"claim-over", "AND (w.status = 'pending' OR w.deadline < t)", graceOver},
	{"claim-running", "AND w.last_deadline >= t",
		inSuite + "a running request with attempts left cannot be claimed"},
	{"claim-lease", "AND w.last_deadline >= t AND w.status = 'pending'",
		inSuite + "new and expired requests are claimed in the order of their last deadlines"},
	{"order", "ORDER BY w.created LIMIT limits[n]);",
		inSuite + "the request whose last deadline is the earliest comes first"},
	{"limit", "ORDER BY w.rank);", inSuite + "a claim keeps to its limit"},
	{"memo-until", "until = CASE WHEN taken THEN c.until ELSE excluded.until END", leavesOut},
	{"memo", "PERFORM WHERE false;",
		inSuite + "a noted cancel keeps the mailbox busy and the claim remembered"},
	{"memo-expired", "PERFORM FROM {s}.claim c WHERE c.id = claim_id;", byMemo},
	{"memo-kept", ";", repeatClaim},
	{"memo-again", "WHERE taken;", byMemo},
	{"memo-made", "", byMemo},
	{"last-attempt", "last_deadline = last,",
		inSuite + "a claim starts the request's first attempt"},
	{"attempts", "last_deadline = ends,", byLife},
	{"rank", "",
		inSuite + "new and expired requests are claimed in the order of their last deadlines"},
	{"rank-kept", "rank = last,", byHeap},
	{"claim-expires", "expires = keeps[n] + ends", byLife},
	{"repeat-lock", "t timestamptz := clock_timestamp();", byLocks},
	{"repeat-made", "FROM {s}.claim c JOIN {s}.request q ON q.claim = c.id", byMemo},
	{"repeat-expired", "AND q.status = 'running';", leavesOut},
	{"refuse-over", "SELECT CASE WHEN NOT q.live THEN 'ended' ELSE 'stale' END, t, {record}",
		timedOut},
	{"refuse-ended", "SELECT CASE WHEN q.last_deadline < t THEN 'ended' ELSE 'stale' END, " +
		"t, {record}", final},
	{"refuse-expired", "FROM {s}.request q WHERE q.store = of AND q.id = key", byExpired},
	{"extend-lock", "t timestamptz := clock_timestamp();", byLocks},
	{"progress", "payload = new_payload,",
		inSuite + "an extension stores a payload only with a codec"},
	{"extend-grace", "deadline = ends,", noted},
	{"extend-last", "last_deadline = last,", noted},
	{"extend-rank", "",
		inSuite + "a released request keeps its record and its payload until it is claimed again"},
	{"extend-rank-kept", "rank = last,", byHeap},
	{"extend-expires", "expires = q.expires", byLife},
	{"extend-running", "WHERE q.store = of AND q.id = key AND q.live::int = 1",
		inSuite + "only the running claim can be extended"},
	{"extend-attempt", "",
		inSuite + "after another claim the old worker's report is stale"},
	{"extend-started", "", startedAt},
	{"extend-over", "AND (releases OR q.deadline >= t)", timedOut},
	{"extend-lease", "AND q.last_deadline >= t", inSuite + "an expired lease cannot be extended"},
	{"release-lease", "AND q.last_deadline >= t AND q.deadline >= t",
		inSuite + "a lease that has expired may be released"},
	{"cancel-lock", "t timestamptz := clock_timestamp();", byLocks},
	{"cancel-ended", "WHERE q.store = of AND q.id = key AND q.last_deadline >= t;", final},
	{"cancel-over", "WHERE q.store = of AND q.id = key AND q.live::int = 1;", timedOut},
	{"cancel-pending", "ELSIF r.deadline < t OR grace = '0' THEN", endsAtOnce},
	{"cancel-lease", "ELSIF r.status <> 'running' OR grace = '0' THEN", endsAtOnce},
	{"cancel-now", "ELSIF r.status <> 'running' OR r.deadline < t THEN",
		inSuite + "a cancel without a grace overrules a noted one"},
	{"cancel-note", "updated = t,",
		inSuite + "a cancel without a grace overrules a noted one"},
	{"cancel-again", "ELSIF true THEN",
		inSuite + "a second cancel with a grace changes nothing"},
	{"grace-longer", "updated = t, deadline = t + grace,",
		inSuite + "a grace never makes a lease longer"},
	{"no-attempt", "", noted},
	{"cancel-expires", "expires = t + keeps", byLife},
	{"end-lock", "t timestamptz := clock_timestamp();", byLocks},
	{"end-note", "expires = t + keeps, sweep = t + keeps", bySeen},
	{"end-ended", "WHERE q.store = of AND q.id = key AND q.attempt = speaker", final},
	{"end-attempt", "WHERE q.store = of AND q.id = key AND q.live::int = 1", endAttempt},
	{"end-started", "", startedAt},
	{"end-over", "", timedOut},
	{"sweep-alone", "IF true THEN", bySweep},
	{"sweep-expired", "SELECT q.ctid FROM {s}.request q WHERE q.sweep < t", bySweep},
	{"sweep-most", "ORDER BY q.sweep FOR UPDATE SKIP LOCKED));", bySweep},
	{"sweep-moves", "UPDATE {s}.request SET sweep = sweep WHERE ctid = ANY (ARRAY(", bySweep},
	{"sweep-memo", "SELECT c.ctid FROM {s}.claim c", bySweep},
	{"sweep-next", "next := least((SELECT min(q.sweep) FROM {s}.request q),", bySweep},
}

var postgresStatements = []mutation{
	{"plain-creators", "FROM (SELECT CASE WHEN false", byLocks},
	{"plain-part", "THEN NULL WHEN $1::int >= 0 THEN clock_timestamp() END AS t OFFSET 0) c",
		byLocks},
	{"unsure", "plainGet = `SELECT 'ok',", bySeenEnd},
	{"plain-expired",
		"CASE WHEN {s}.lock_to_read($1::int, $3) IS NULL THEN now() ELSE '-infinity' END`",
		byExpired},
	{"plain-read", "CASE WHEN $1::int >= 0 THEN clock_timestamp() END`", byLocks},
	{"plain-ended", "WHERE q.store = $2 AND q.id = $3 AND q.attempt = $4::int", final},
	{"plain-attempt", "WHERE q.store = $2 AND q.id = $3 AND q.live::int = 1 AND $4::int >= 0",
		endAttempt},
	{"plain-started", "AND ($5::timestamptz IS NULL OR true)", startedAt},
	{"plain-over", "AND {s}.lock_request($1::int, $3) IS NOT NULL", timedOut},
	{"exclusive", "if tx == nil && c.MaxPending == 0 {", busy},
	{"cap", "if tx == nil && !c.Exclusive {",
		inSuite + "a full mailbox refuses and stores nothing"},
	{"exists", "if true {",
		inSuite + "a repeated create returns the first request in any status"},
	{"get", "if err == nil && a.code == \"\" {", bySeenEnd},
	{"release", "lasts = e.After",
		inSuite + "a released request can be claimed at once, with its next attempt"},
	{"attempts", "if true {", terms},
	{"end", "if false {", bySeen},
}

var postgresClaims = []mutation{
	{"repeat", "if repeats && false {", repeatClaim},
	{"repeat-together", "if repeats && false {",
		inSuite + "many claims get the same results as single claims, in their order"},
}
