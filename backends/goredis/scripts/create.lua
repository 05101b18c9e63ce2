-- Stores a new pending request.
-- KEYS[1]  the record
-- KEYS[2]  the queue
-- KEYS[3]  the exclusive marker, the id of the newest request; used if ARGV[5] is 1
-- KEYS[4]  the lapsing claims; only for a store with more than one attempt
-- ARGV     id, pending timeout, retention, the most that may be pending or 0, exclusive or not,
--          what follows the record's head, the command and the channel for wake-ups
-- Returns  {now, 'ok'}, {now, 'exists', record}, {now, 'busy', id} or {now, 'full'}
local id, timeout, retention, max_pending, exclusive, rest = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local publish, channel = ARGV[7], ARGV[8]
local stale_bite = 10 -- timed-out entries that one create removes, more than it adds

local record = redis.call('GET', KEYS[1])
local us, now = clock()
if record then return {us, 'exists', record} end

if exclusive == '1' then
  local newest = redis.call('GET', KEYS[3])
  local other = newest and redis.pcall('GET', sibling(KEYS[1], 'r', newest))
  if other and not unreadable(other) and state_at(other, now) ~= 'e' then return {us, 'busy', newest} end
end

local stale = {}
if redis.call('EXISTS', KEYS[2], KEYS[4] or KEYS[2]) > 0 then
  if max_pending > 0 and claimable(KEYS[2], KEYS[4], now, max_pending) >= max_pending then return {us, 'full'} end
  stale = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. now, 'LIMIT', 0, stale_bite)
end

local until_us = us + timeout
local deadline = digits(until_us)
redis.call('ZADD', KEYS[2], deadline, id)
if #stale > 0 then redis.call('ZREM', KEYS[2], unpack(stale)) end
keep_until(KEYS[2], until_us, us)
if exclusive == '1' then redis.call('SET', KEYS[3], id, 'PXAT', expiry(until_us)) end
record = head('p', 0, deadline, deadline, now, now, digits(0)) .. rest
redis.call('SET', KEYS[1], record, 'PXAT', expiry(until_us + retention))
wake(publish, channel, 'q' .. mailbox_of(record))
return {us, 'ok'}
