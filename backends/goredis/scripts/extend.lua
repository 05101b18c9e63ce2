-- Gives a running request a new deadline.
-- KEYS[1]  the record
-- KEYS     if the caller knows the mailbox, its lapsing claims and its exclusive marker, so that a cluster refuses the
--          call (TRYAGAIN) while it moves them and only some have arrived
-- ARGV[1]  parted by spaces: attempt in 4 digits, running timeout, pending timeout or 0 for the last attempt, the times
--          to live of the record, of the lapsing claims and of the exclusive marker, exclusive or not
-- Returns  now, or {now, 'notfound'}, {now, 'ended', record}, {now, 'stale'} or {now, 'corrupt', why}
local record_key = KEYS[1]
local attempt, running, pending, record_ttl, lapsing_ttl, marker_ttl, exclusive =
  string.match(ARGV[1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d)')

local record = redis.call('GET', record_key)
--@include clock reckoning digits state_of sibling lapsing_member keep_for
if not record then return {now, 'notfound'} end
local state, problem, mailbox_end = state_of(record, now)
if problem then return {now, 'corrupt', problem} end
if state == 'e' then return {now, 'ended', record} end
if state ~= 'r' or string.sub(record, ATTEMPT) ~= attempt then return {now, 'stale'} end

local id = string.sub(record_key, -ID_BYTES)
local mailbox = string.sub(record, LENGTH_END + 1, mailbox_end)
local lapsing = sibling(record_key, 'l', mailbox)
local last_before = string.sub(record, LAST_DEADLINE)
local deadline, last = digits(us + running), digits(us + running + pending)
if last_before > string.sub(record, DEADLINE) then redis.call('ZREM', lapsing, lapsing_member(last_before, id)) end
redis.call('PEXPIRE', record_key, record_ttl) -- first of the writes that are always made: allowed when memory is full
if last > deadline then
  redis.call('ZADD', lapsing, deadline, lapsing_member(last, id))
  keep_for(lapsing, lapsing_ttl)
end
if exclusive == '1' then redis.call('PEXPIRE', sibling(record_key, 'x', mailbox), marker_ttl) end
redis.call('SETRANGE', record_key, UPDATED_OFFSET, now .. deadline .. last)
return now
