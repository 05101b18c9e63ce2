-- Stores a new pending request.
-- KEYS[1]  the record
-- KEYS[2]  the queue
-- KEYS[3]  the exclusive marker, the id of the newest request; used if ARGV[7] is 1
-- KEYS[4]  the lapsing claims
-- ARGV     id, pending timeout, the times to live of the record, of the queue and of the marker, the most that may be
--          pending or 0, exclusive or not, what follows the record's head, the command, channel and topic of the wake-up
-- Returns  {now, 'ok'}, {now, 'exists', record}, {now, 'busy', id} or {now, 'full'}
local record_key, queue, marker, lapsing = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, timeout, record_ttl, queue_ttl, marker_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local max_pending, exclusive, rest = tonumber(ARGV[6]), ARGV[7], ARGV[8]
local stale_bite = 10 -- timed-out entries that one create removes, more than it adds

--@prelude
local us, now = clock()

-- Refuses, unless this is the repeat of a create that worked.
local function refuse(...)
  local record = redis.call('GET', record_key)
  if record then return {us, 'exists', record} end
  return {us, ...}
end

if exclusive == '1' then
  local newest = redis.call('GET', marker)
  local other = newest and redis.pcall('GET', sibling(record_key, 'r', newest))
  if other and not unreadable(other) and state_at(other, now) ~= 'e' then return refuse('busy', newest) end
end
local waiting, stale = 0, {}
if redis.call('EXISTS', queue, lapsing) > 0 then
  waiting = redis.call('ZCOUNT', queue, now, '+inf')
  if max_pending > 0 and claimable(waiting, lapsing, now, max_pending) >= max_pending then return refuse('full') end
  stale = redis.call('ZRANGEBYSCORE', queue, '-inf', '(' .. now, 'LIMIT', 0, stale_bite)
end

local deadline = digits(us + timeout)
local record = '1p0000' .. deadline .. deadline .. now .. now .. '0000000000000000' .. rest
if not redis.call('SET', record_key, record, 'NX', 'PX', record_ttl) then return refuse('exists') end
redis.call('ZADD', queue, deadline, id)
if waiting == 0 then
  redis.call('PEXPIRE', queue, queue_ttl)
else
  keep_for(queue, queue_ttl)
end
for _, member in ipairs(stale) do
  if member ~= id then redis.call('ZREM', queue, member) end -- that of an earlier request of this id has been overwritten
end
if exclusive == '1' then redis.call('SET', marker, id, 'PX', marker_ttl) end
wake(ARGV[9], ARGV[10], ARGV[11])
return {us, 'ok'}
