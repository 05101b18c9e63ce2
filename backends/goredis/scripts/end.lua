--!df flags=allow-undeclared-keys
-- Ends a live request.
-- KEYS[1]  the record
-- KEYS[2]  the queue, on a Cluster or with a payload: a Cluster that moves the keys then refuses
--          the call (TRYAGAIN) while only some have arrived
-- KEYS[3]  the payload, if it has a key of its own
-- ARGV[1]  the attempt in 4 digits, or '' to end any attempt and keep the payload of the request
-- ARGV[2]  the time to live of the record, in milliseconds
-- ARGV[3]  the record from behind the mailbox on; without a body if the record keeps its own
-- Returns  the time; or {time, 'notfound'}, {time, 'ended', record}, {time, 'stale'}, {time,
--          'corrupt', problem} or {time, 'unstaged'} if the payload has not arrived
local sub, record_key, staged, attempt, ttl = string.sub, KEYS[1], KEYS[3], ARGV[1], ARGV[2]

-- join state_of
local time = redis.call('TIME')
local now = time[1] .. string.sub('00000' .. time[2], -6)
if #now < 16 then now = '0' .. now end -- before September 2001, as on some fake clocks
local record = redis.call('GET', record_key)
local state, problem, mailbox_end, place = state_of(record, now)
local refusal
if not record then
  refusal = { now, 'notfound' }
elseif problem then
  refusal = { now, 'corrupt', problem }
elseif state == 'ended' then
  refusal = { now, 'ended', record }
elseif attempt ~= '' and attempt ~= sub(record, 87, 90) then
  refusal = { now, 'stale' }
elseif staged and redis.call('EXISTS', staged) == 0 then
  refusal = { now, 'unstaged' }
end
if refusal then
  -- join payload_key discard
  if staged then discard(staged, record_key, record) end
  return refusal
end

local queue, body = sub(record_key, 1, -33) .. 'q/' .. sub(record, 91, mailbox_end), ARGV[3]
-- A server without memory allows the first write, and then all others of the script.
if attempt == '' then
  -- join keep_payload
  if place == '1' and not keep_payload(record_key, record, ttl) then
    return redis.error_reply('TRYAGAIN a payload is missing')
  end
  body = body .. sub(record, mailbox_end + 1)
end
redis.call('ZREM', queue, sub(record_key, -30))
if staged then redis.call('PEXPIRE', staged, ttl) end
if attempt ~= '' then
  -- join payload_key
  if place == '1' then redis.pcall('UNLINK', payload_key(record_key, record)) end
  place = staged and '1' or '0'
end
local last = state == 'waiting' and sub(record, 3, 18) or sub(record, 39, 54)
redis.call('SET', record_key, '1e' .. sub(record, 3, 37) .. place .. last .. now ..
  sub(record, 71, mailbox_end) .. body, 'PX', ttl)
-- join wake
wake(record_key)
return now
