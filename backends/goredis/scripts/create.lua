--!df flags=allow-undeclared-keys
-- Stores a new pending request.
-- KEYS[1]  the record
-- KEYS[2]  the queue
-- KEYS[3]  the payload, if it has its own key
-- ARGV[1]  numbers, separated by spaces: the pending timeout in microseconds; the times to live of
--          the record and of the queue in milliseconds; MaxPending; 1 for Exclusive, else 0
-- ARGV[2]  the record from the length of its mailbox on
-- Returns  the time; or {time, 'exists', record}, {time, 'busy', id}, {time, 'full'} or {time,
--          'unstaged'} if the payload is missing
local record_key, queue, staged = KEYS[1], KEYS[2], KEYS[3]
local timeout, record_ttl, queue_ttl, most, exclusive =
  string.match(ARGV[1], '^(%d+) (%d+) (%d+) (%d+) (%d)')
local id = string.sub(record_key, -30)

local time = redis.call('TIME')
local now = time[1] .. time[2]
if #now < 16 then now = string.sub('0' .. time[1], -10) .. string.sub('00000' .. time[2], -6) end
local refusal, detail, timed_out
local queue_left = redis.call('PTTL', queue) -- -2 if there is no queue
if queue_left ~= -2 then
  -- join state_of find_expired
  local records = string.sub(record_key, 1, -31)
  local function first(from, to)
    return redis.call('ZRANGEBYSCORE', queue, from, to, 'LIMIT', '0', '1')[1]
  end
  if exclusive == '1' then
    -- mutation: exclusive-ends, exclusive-running
    detail = first('-inf', '-' .. now) or first(now, '+inf')
      or find_expired(queue, records, now, 1)[1] -- mutation: exclusive-expired
    if detail then refusal = 'busy' end -- mutation: exclusive
  end
  most = tonumber(most)
  if most > 0 and redis.call('ZCOUNT', queue, '(-' .. now, '+inf') >= most then
    local claimable = redis.call('ZCOUNT', queue, now, '+inf') -- mutation: cap-claimable
    if claimable < most then
      claimable = claimable + #find_expired(queue, records, now, most - claimable)
    end
    if claimable >= most then refusal = refusal or 'full' end -- mutation: cap
  end
  -- A create adds one request, and removes up to ten that timed out.
  timed_out = redis.call('ZRANGEBYSCORE', queue, '0', '(' .. now, 'LIMIT', '0', '10')
end
if staged and redis.call('EXISTS', staged) == 0 then refusal = refusal or 'unstaged' end

local deadline = string.format('%016d', now + timeout)
local record = '1p' .. deadline .. now .. ARGV[2]
-- mutation: once
local set = refusal or redis.pcall('SET', record_key, record, 'NX', 'PX', record_ttl)
if not set or set.err then refusal = 'exists' end
if refusal then
  -- join payload_key discard
  local made = redis.call('GET', record_key) -- this may be the repeat of a create that worked
  -- Without a record, the server has refused SET. This call passes the error on. Its error has this
  -- line, unlike that of a pcall, so script.go can name the command. It comes before discard, since
  -- after any write Redis would allow this SET when out of memory.
  local refused = refusal == 'exists' and not made
  -- mutation: raised
  if refused then redis.call('SET', record_key, record, 'NX', 'PX', record_ttl) end
  if staged then discard(staged, record_key, made) end
  if made then return { now, 'exists', made } end -- mutation: repeat
  return { now, refusal, detail }
end
if staged then redis.call('PEXPIRE', staged, record_ttl) end -- mutation: payload-ttl
if timed_out and #timed_out > 0 then
  redis.call('ZREM', queue, unpack(timed_out))
  queue_left = redis.call('PTTL', queue) -- there may be no queue left
end
redis.call('ZADD', queue, deadline, id) -- mutation: queue
if queue_left < 0 or queue_left < tonumber(queue_ttl) then
  redis.call('PEXPIRE', queue, queue_ttl) -- mutation: queue-ttl
end
-- join wake
wake(queue)
return now
