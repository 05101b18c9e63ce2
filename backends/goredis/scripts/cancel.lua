--!df flags=allow-undeclared-keys
-- Cancels a live request, or notes the cancel and leaves a grace to a running worker.
-- KEYS[1]  the record
-- KEYS[2]  the queue, on a Cluster: see end.lua; only is_moving reads it
-- ARGV[1]  numbers, separated by spaces: the grace in microseconds; Retention in milliseconds
-- ARGV[2]  the ending of the record, also used as the note
-- Returns  {time, 'head', the record with its ending or its note, but without its body}; or
--          {time, 'notfound'}, {time, 'ended', record} or {time, 'corrupt', problem}
local sub, record_key = string.sub, KEYS[1]
local grace, retention = string.match(ARGV[1], '^(%d+) (%d+)')

-- join state_of
local time = redis.call('TIME')
local now = time[1] .. time[2]
if #now < 16 then now = sub('0' .. time[1], -10) .. sub('00000' .. time[2], -6) end
local record = redis.call('GET', record_key)
local state, problem, mailbox_end, place = state_of(record, now)
if not state or state == 'ended' then -- mutation: final
  -- join refusal
  return refusal(record, state, problem, now)
end

local fixed_end, noted = mailbox_end, sub(record, 2, 2) == 'c'
if place > '1' then
  -- join headers_end
  fixed_end = headers_end(record, mailbox_end) -- mutation: headers
end
local body_at = fixed_end + 1
if noted then
  -- join note_end
  body_at = note_end(record, fixed_end) + 1 -- mutation: note-ends
end
local in_grace = state == 'running' and tonumber(grace) > 0 -- mutation: grace-running, grace-zero
-- mutation: first
if in_grace and noted then return { now, 'head', sub(record, 1, body_at - 1) } end

local letter, deadline, ttl, last = 'e', sub(record, 3, 18), retention
if in_grace then
  local sooner = string.format('%016d', now + grace)
  if sooner < deadline then deadline = sooner end -- mutation: grace-longer, grace-shorter
  last, letter = deadline, 'c' -- mutation: no-attempt
  ttl = string.format('%d', math.ceil((deadline - now) / 1000) + retention) -- mutation: retention
else
  last = state == 'waiting' and deadline or sub(record, 39, 54)
end
local id, payload = sub(record_key, -30)
if place == '1' or place == '3' then
  -- join payload_key is_moving
  payload = payload_key(record_key, record)
  if is_moving(payload, id) then return redis.error_reply('TRYAGAIN a payload is missing') end
end
-- The queue comes first: see extend.lua. Redis allows this ZREM when out of memory, and then allows
-- the writes that follow.
local queue = sub(record_key, 1, -33) .. 'q/' .. sub(record, 91, mailbox_end)
redis.call('ZREM', queue, in_grace and '' or id) -- mutation: queue
if in_grace then
  redis.call('ZADD', queue, '-' .. deadline, id) -- mutation: place
end
if payload then redis.pcall('PEXPIRE', payload, ttl) end -- mutation: payload-ttl
local head = '1' .. letter .. deadline .. sub(record, 19, 38) .. last .. now ..
  sub(record, 71, fixed_end)
-- mutation: question, note-ttl
redis.call('SET', record_key, head .. ARGV[2] .. sub(record, body_at), 'PX', ttl)
-- join wake
wake(record_key)
return { now, 'head', head .. ARGV[2] }
