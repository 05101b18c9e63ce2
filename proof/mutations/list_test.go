package mutations_test

// The tests that notice most mutations. Each is a folder, a colon and the name of a test.
const (
	byMachine   = "proof/machine:TestMachineOnFakeTime"
	byMatrix    = "proof/matrix:TestLostReplyMatrix"
	byHistories = "proof/histories:TestHistories/redis"
	byMemory    = "proof/histories:TestHistories/memory"
	bySuite     = "backends/goredis:TestConformanceOnMiniredis"
	byTwins     = "backends/goredis:TestMixedTermsAndRepeatsAgreeWithMemory"
)

// mutations are the mutations by file below backends. Each has the name in the marker, the line
// that replaces the marked line, and the test that must fail.
var mutations = map[string][]mutation{
	"goredis/scripts/create.lua": {
		{"once",
			"local set = refusal or redis.pcall('SET', record_key, record, 'PX', record_ttl)",
			byHistories},
		{"raised",
			"if refused then discard(staged, record_key, made) " +
				"redis.call('SET', record_key, record, 'NX', 'PX', record_ttl) end",
			"backends/goredis:TestFaultMemoryIsFullOnceAPayloadIsStaged"},
		{"repeat", "", byMatrix},
		{"exclusive", "", byHistories},
		{"exclusive-ends", "detail = first('-inf', '-' .. now) or first('0', '+inf')", byMachine},
		{"exclusive-running", "detail = first(now, '+inf')", byMachine},
		{"exclusive-expired", "", bySuite},
		{"cap", "if claimable >= most then  end", byHistories},
		{"cap-claimable", "local claimable = redis.call('ZCARD', queue)", byMachine},
		{"queue", "", byHistories},
		{"queue-ttl", "redis.call('PEXPIRE', queue, 50)", byMachine},
		{"payload-ttl", "", "backends/goredis:TestLargePayloadsLiveAsLongAsTheirRecords"},
	},
	"goredis/scripts/shared/find_expired.lua": {
		{"cap-expired", "", byMachine},
	},
	"goredis/goredis.go": {
		{"retention",
			"c.PendingTimeout.Microseconds(), millis(c.PendingTimeout),",
			byMachine},
		{"get-deadline",
			"return rec, ordered || rec.Ended() || !now.After(rec.Deadline), nil",
			byMachine},
	},
	"goredis/scripts/shared/discard.lua": {
		{"stored-payload", "if true then redis.pcall('UNLINK', staged) end", byMatrix},
	},
	"goredis/scripts/claim.lua": {
		{"memo", "local memo = nil", byMatrix},
		{"memo-kept", "", byMatrix},
		{"memo-ttl",
			"if taken ~= '' then redis.call('SET', KEYS[1], taken, 'PX', 20) end",
			byMachine},
		{"repeat-claim", "if state == 'running' then", bySuite},
		{"repeat-running", "if sub(record or '', 71, 90) == claim then", byMachine},
		{"taken", "if false then", byMachine},
		{"limit", "", byMachine},
		{"attempts", "if attempts then", byHistories},
		{"record-ttl", "redis.call('PEXPIRE', record_key, 20)", byMachine},
	},
	"goredis/scripts/shared/settle.lua": {
		{"expired", "elseif false then", byHistories},
		{"order", "redis.call('ZADD', queue, '+inf', id)", byHistories},
		{"timed-out", "skipped = skipped + 1", "backends/goredis:TestNoQueueKeepsWhatHasTimedOut"},
	},
	"goredis/scripts/shared/keep.lua": {
		{"queue-ttl", "", "backends/goredis:TestAQueueLivesAsLongAsItsRequestsRun"},
	},
	"goredis/scripts/end.lua": {
		{"final", "local refused = not state or attempt ~= sub(record, 87, 90)", byHistories},
		{"attempt", "local refused = not state or state == 'ended'", byHistories},
		{"queue", "tostring(sub(record_key, 1, -33),", byMachine},
		{"retention", "redis.call('SET', record_key, head .. ARGV[3])", byMatrix},
		{"own-repeat",
			"redis.call('SET', record_key, head .. '0900000completed' .. " +
				"sub(record, fixed_end + 1), 'PX', ttl)",
			byMatrix},
		{"headers", "", byHistories},
		{"deadlines", "local last = sub(record, 3, 18)", byHistories},
		{"staged", "if refused then", "backends/goredis:TestFaultMemoryIsFull"},
		{"payload-ttl", "", "backends/goredis:TestLargePayloadsLiveAsLongAsTheirRecords"},
		{"progress",
			"if place ~= '2' then  end",
			"proof/machine:TestLargeProgressIsRemovedOnceItIsReplaced"},
	},
	"goredis/scripts/shared/state_of.lua": {
		{"timed-out", "state = 'waiting'", byMachine},
		{"deadline", "if now < deadline then", byMachine},
		{"last-deadline", "elseif now < string.sub(record, 39, 54) then", byMachine},
		{"version", "", "backends/goredis:TestFaultRecordsThatCannotBeRead"},
	},
	"goredis/scripts/cancel.lua": {
		{"final", "if not state then", byHistories},
		{"question",
			"redis.call('SET', record_key, head .. ARGV[2] .. '03raw', 'PX', ttl)",
			byHistories},
		{"queue", "", byMachine},
		{"headers", "", byHistories},
		{"grace-running", "local in_grace = tonumber(grace) > 0", byHistories},
		{"grace-zero", "local in_grace = state == 'running'", byHistories},
		{"first", "", byHistories},
		{"note-ends", "", byHistories},
		{"grace-longer", "deadline = sooner", byHistories},
		{"grace-shorter", "", byHistories},
		{"no-attempt", "last, letter = sub(record, 39, 54), 'c'", byHistories},
		{"place", "", "proof/machine:TestAMailboxIsFreeOnceAGraceHasRunOut"},
		{"retention", "ttl = string.format('%d', math.ceil((deadline - now) / 1000))", byMachine},
		{"payload-ttl", "", byTwins},
		{"note-ttl",
			"redis.call('SET', record_key, head .. ARGV[2] .. sub(record, body_at))",
			byMatrix},
	},
	"goredis/scripts/extend.lua": {
		{"attempt", "local refused = not held", byHistories},
		{"running", "local held = state == 'running' or state == 'expired'", byHistories},
		{"release-expired", "local held = state == 'running'", byHistories},
		{"place", "local moved = 0", byMachine},
		{"record-ttl", "", byMachine},
		{"grace",
			"deadline = string.format('%016d', now + lasts) last = deadline",
			byHistories},
		{"tells-cancel",
			"if false then return { now, 'head', '1c' .. head .. sub(record, 71, head_end) } end",
			byHistories},
		{"note", "local text = '1r' .. head .. sub(record, 71, mailbox_end) .. body", byHistories},
		{"headers", "", byHistories},
		{"fenced",
			"if body and state == 'running' then redis.call('SET', record_key, " +
				"sub(record, 1, mailbox_end) .. body, 'KEEPTTL') end",
			byHistories},
		{"progress-ttl", "redis.call('SET', record_key, text)", byMatrix},
		{"payload-ttl", "", "backends/goredis:TestLargePayloadsLiveAsLongAsTheirRecords"},
		{"old-payload", "", "proof/machine:TestLargeProgressIsRemovedOnceItIsReplaced"},
		{"own-payload", "if old then redis.pcall('UNLINK', old) end", byMatrix},
		{"release", "local from = now", byHistories},
	},
	"goredis/scripts/shared/refusal.lua": {
		{"final", "", byHistories},
	},
	"goredis/script.go": {
		{"noscript", "return false", byMatrix},
	},
	"memory/shard.go": {
		{"final", "} else if false {", byMemory},
		{"grace-longer", "if grace := now.Add(c.Grace); true {", byMemory},
		{"no-attempt", "s.runUntil(e, deadline, e.rec.LastDeadline, c.Retention)", byMemory},
		{"grace", "case false:", byMemory},
		{"release", "s.lease(e, x.Terms, x.After, now)", byMemory},
		{"note-ends", "", byMemory},
		{"headers", "rec.Headers = nil", byMemory},
		{"bare", "", byMemory},
	},
	"memory/memory.go": {
		{"attempt", "if false {", byMemory},
		{"extend-attempt", "if !claimed || expired && !x.Release {", byMemory},
		{"expired", "if !claimed || e.rec.Attempt != x.Attempt || expired && false {", byMemory},
		{"release", "if !claimed || e.rec.Attempt != x.Attempt || expired {", byMemory},
		{"tells-cancel", "}, nil", byMemory},
		{"grace-running", "case !running && false || c.Grace == 0:", byMemory},
		{"grace-zero", "case !running:", byMemory},
		{"first", "default:", byMemory},
		{"memo", "if memo == nil || true {", byMachine},
	},
	"memory/mailbox.go": {
		{"cap", "if t.MaxPending > 0 && false {", byMemory},
		{"exclusive", "if live := m.live(now); false {", byMemory},
		{"timed-out", "for false {", byMemory},
	},
	"postgres/create.sql":    postgresCreates,
	"postgres/functions.sql": postgresFunctions,
	"postgres/postgres.go":   postgresStatements,
	"postgres/claim.go":      postgresClaims,
	"record.go": {
		{"cancels", "case false:", byMemory},
		{"deadline", "case now.Before(r.Deadline):", "backends/memory:TestConformanceOnFakeTime"},
		{"last-deadline", "case true:", byMemory},
	},
}
