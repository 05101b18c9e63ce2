--!df flags=allow-undeclared-keys
-- Renews the lease of a running request, or releases it. It may also store the request's progress.
-- KEYS[1]  the record
-- KEYS[2]  the queue, on a Cluster or with a large payload: see end.lua; only is_moving reads it
-- KEYS[3]  the payload, if it has its own key
-- ARGV[1]  numbers, separated by spaces: the fence of the claim, as in end.lua; the time until the
--          deadline and until the last deadline in microseconds; the time to live of the record in
--          milliseconds; 1 to release, else 0
-- ARGV[2]  the body of the record, if there is progress to store
-- Returns  the time; or, if a cancel was noted, {time, 'head', the record without its body}; or
--          {time, 'notfound'}, {time, 'ended', record}, {time, 'stale'}, {time, 'corrupt', problem}
--          or {time, 'unstaged'} if the payload is missing
local sub, record_key, staged, body = string.sub, KEYS[1], KEYS[3], ARGV[2]
local fence, lasts, until_last, ttl, release =
  string.match(ARGV[1], '^(%S+) (%d+) (%d+) (%d+) ([01])') -- a wrong fence may be a negative number

-- join state_of
local time = redis.call('TIME')
local now = time[1] .. time[2]
if #now < 16 then now = sub('0' .. time[1], -10) .. sub('00000' .. time[2], -6) end
local record = redis.call('GET', record_key)
local state, problem, mailbox_end, place = state_of(record, now)
-- mutation: running, release-expired
local held = state == 'running' or state == 'expired' and release == '1'
-- mutation: attempt, started
local refused = not held or fence ~= sub(record, 91 - #fence, 90)
if refused or staged and redis.call('EXISTS', staged) == 0 then
  -- join payload_key discard refusal
  if staged then discard(staged, record_key, record) end -- mutation: fenced
  return refused and refusal(record, state, problem, now) or { now, 'unstaged' }
end

local letter, head_end, deadline, last = sub(record, 2, 2), mailbox_end
if letter == 'c' then
  -- After a noted cancel the deadlines and the time to live stay.
  -- join note_end headers_end
  deadline, last = sub(record, 3, 18), sub(record, 39, 54) -- mutation: grace
  ttl = string.format('%d', redis.call('PTTL', record_key))
  head_end = note_end(record, place > '1' and headers_end(record, mailbox_end) or mailbox_end)
else
  local from = now - release -- mutation: release; a released lease expires a microsecond early
  deadline, last = string.format('%016d', from + lasts), string.format('%016d', from + until_last)
end
local id, payload = sub(record_key, -30)
if not body and place ~= '0' and place ~= '2' then
  -- join payload_key is_moving
  payload = payload_key(record_key, record)
  if is_moving(payload, id) then return redis.error_reply('TRYAGAIN a payload is missing') end
end
-- The queue comes first. If it has another type, the script fails before it has changed anything.
local queue = sub(record_key, 1, -33) .. 'q/' .. sub(record, 91, mailbox_end)
if letter ~= 'c' then
  -- join keep
  local moved = redis.pcall('ZADD', queue, '-' .. deadline, id) -- mutation: place
  if moved ~= 0 then
    -- The server is out of memory. It allows this ZREM, and then the ZADD that follows.
    redis.call('ZREM', queue, '')
    redis.call('ZADD', queue, '-' .. deadline, id)
  end
  keep(queue, until_last)
end
if payload then redis.pcall('PEXPIRE', payload, ttl) end
redis.call('PEXPIRE', record_key, ttl) -- mutation: record-ttl
local head = deadline .. sub(record, 19, 38) .. last .. now
if body then
  -- join payload_key headers_end
  -- mutation: headers
  if letter ~= 'c' and place > '1' then head_end = headers_end(record, mailbox_end) end
  local old = (place == '1' or place == '3') and payload_key(record_key, record)
  if old and old ~= staged then redis.pcall('UNLINK', old) end -- mutation: old-payload, own-payload
  if staged then redis.call('PEXPIRE', staged, ttl) end -- mutation: payload-ttl
  local new_place = (staged and 1 or 0) + (place > '1' and 2 or 0)
  head = deadline .. sub(record, 19, 37) .. new_place .. last .. now
  local text = '1' .. letter .. head .. sub(record, 71, head_end) .. body -- mutation: note
  redis.call('SET', record_key, text, 'PX', ttl) -- mutation: progress-ttl
else
  redis.call('SETRANGE', record_key, '2', head)
end
if body or release == '1' then
  -- join wake
  wake(record_key)
  if release == '1' and lasts == '0' then wake(queue) end
end
-- mutation: tells-cancel
if letter == 'c' then return { now, 'head', '1c' .. head .. sub(record, 71, head_end) } end
return now
