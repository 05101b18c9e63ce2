-- Stores a new pending request.
-- KEYS[1]  the record
-- KEYS[2]  the queue
-- KEYS[3]  the lapsing claims
-- KEYS[4]  only if the store is exclusive: its marker, the id of the newest request
-- ARGV[1]  parted by spaces: pending timeout, the times to live of the record and of the queue, the most that may be
--          pending or 0, the time to live of the marker
-- ARGV[2]  what follows the time of creation in the record
-- Returns  now, or {now, 'exists', record}, {now, 'busy', id} or {now, 'full'}
local record_key, queue, lapsing, marker = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id = string.sub(record_key, -ID_BYTES)
local timeout, record_ttl, queue_ttl, more = string.match(ARGV[1], '^(%d+) (%d+) (%d+)(.*)')

--@include clock reckoning digits
local refusal, detail
if marker then
  --@include state_of sibling
  local newest = redis.call('GET', marker)
  local other = newest and redis.pcall('GET', sibling(record_key, 'r', newest))
  local state = other and state_of(other, now)
  if state == 'p' or state == 'r' then refusal, detail = 'busy', newest end
end
local waiting, stale = 0, nil
if redis.call('EXISTS', queue, lapsing) > 0 then
  --@include claimable
  local stale_bite, most = 10, tonumber(string.match(more, '%d+')) -- the bite: timed-out entries that one create removes, more than it adds
  waiting = redis.call('ZCOUNT', queue, now, '+inf')
  stale = redis.call('ZRANGEBYSCORE', queue, '-inf', '(' .. now, 'LIMIT', 0, stale_bite)
  if most > 0 and claimable(waiting, lapsing, now, most) >= most then refusal = refusal or 'full' end
end

local deadline = digits(us + timeout)
local record = PENDING_TAG .. deadline .. now .. ARGV[2]
if not refusal and not redis.call('SET', record_key, record, 'NX', 'PX', record_ttl) then refusal = 'exists' end
if refusal then -- unless this is the repeat of a create that worked
  local made = redis.call('GET', record_key)
  if made then return {now, 'exists', made} end
  return {now, refusal, detail}
end
redis.call('ZADD', queue, deadline, id)
if waiting == 0 then
  redis.call('PEXPIRE', queue, queue_ttl)
else
  --@include keep_for
  keep_for(queue, queue_ttl)
end
if stale then
  for _, member in ipairs(stale) do
    if member ~= id then redis.call('ZREM', queue, member) end -- that of an earlier request of this id has been overwritten
  end
end
if marker then redis.call('SET', marker, id, 'PX', string.match(more, '%d+$')) end
redis.pcall('PUBLISH', string.sub(queue, CHANNEL), queue) -- a wake-up that cannot be sent costs those who wait time, not this its success
return now
