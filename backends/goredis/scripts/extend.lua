-- Gives a running request a new deadline.
-- KEYS[1]  the record
-- ARGV     id, attempt, running timeout, pending timeout, retention, max attempts, exclusive or not
-- Returns  {now, 'ok'}, {now, 'notfound'}, {now, 'ended', record}, {now, 'stale'} or {now, 'corrupt', why}
local id, attempt, running, pending, retention = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local max_attempts, exclusive = tonumber(ARGV[6]), ARGV[7]

local record = redis.call('GET', KEYS[1])
local us, now = clock()
if not record then return {us, 'notfound'} end
local problem = unreadable(record)
if problem then return {us, 'corrupt', problem} end
local state = state_at(record, now)
if state == 'e' then return {us, 'ended', record} end
if state ~= 'r' or attempt_of(record) ~= attempt then return {us, 'stale'} end

local deadline_us = us + running
local last_us = deadline_us + (attempt < max_attempts and pending or 0)
local deadline, last = digits(deadline_us), digits(last_us)

local lapsing = sibling(KEYS[1], 'l', mailbox_of(record))
if last_deadline_of(record) > deadline_of(record) then
  redis.call('ZREM', lapsing, lapsing_member(last_deadline_of(record), id))
end
redis.call('PEXPIREAT', KEYS[1], expiry(last_us + retention)) -- first of the writes that are always made: allowed when memory is full
if last > deadline then
  redis.call('ZADD', lapsing, deadline, lapsing_member(last, id))
  keep_until(lapsing, last_us, us)
end
if exclusive == '1' then redis.call('PEXPIREAT', sibling(KEYS[1], 'x', mailbox_of(record)), expiry(last_us)) end
redis.call('SETRANGE', KEYS[1], 0, head('r', attempt, deadline, last, created_of(record), now, started_of(record)))
return {us, 'ok'}
