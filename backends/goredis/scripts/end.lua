--!df flags=allow-undeclared-keys
-- Ends a live request for its worker.
-- KEYS[1]  the record
-- KEYS[2]  the queue, on a Cluster or with a large payload. The script does not use this key. A
--          node that has only some of the keys refuses the call (TRYAGAIN).
-- KEYS[3]  the payload, if it has its own key
-- ARGV[1]  the fence of the claim: its start in 16 digits, or nothing if the worker does not know
--          it, and its attempt in 4 digits
-- ARGV[2]  the time to live of the record, in milliseconds
-- ARGV[3]  the ending and the body of the record
-- Returns  the part of the new record before its ending: a string is cheaper than a list; or
--          {time, 'notfound'}, {time, 'ended', record}, {time, 'stale'}, {time, 'corrupt', problem}
--          or {time, 'unstaged'} if the payload is missing
local sub, record_key, staged, fence, ttl = string.sub, KEYS[1], KEYS[3], ARGV[1], ARGV[2]

-- join state_of
local time = redis.call('TIME')
local now = time[1] .. time[2]
if #now < 16 then now = sub('0' .. time[1], -10) .. sub('00000' .. time[2], -6) end
local record = redis.call('GET', record_key)
local state, problem, mailbox_end, place = state_of(record, now)
-- mutation: final, attempt, started
local refused = not state or state == 'ended' or fence ~= sub(record, 91 - #fence, 90)
if refused or staged and redis.call('EXISTS', staged) == 0 then -- mutation: staged
  -- join payload_key discard refusal
  if staged then discard(staged, record_key, record) end
  return refused and refusal(record, state, problem, now) or { now, 'unstaged' }
end

-- Redis allows this ZREM when out of memory, and then allows the writes that follow.
-- mutation: queue
redis.call('ZREM', sub(record_key, 1, -33) .. 'q/' .. sub(record, 91, mailbox_end),
  sub(record_key, -30))
if staged then redis.call('PEXPIRE', staged, ttl) end -- mutation: payload-ttl
local new_place, fixed_end = staged and '1' or '0', mailbox_end
if place ~= '0' then
  -- join payload_key headers_end
  -- mutation: progress
  if place ~= '2' then redis.pcall('UNLINK', payload_key(record_key, record)) end
  if place ~= '1' then
    -- mutation: headers
    new_place, fixed_end = staged and '3' or '2', headers_end(record, mailbox_end)
  end
end
local last = state == 'waiting' and sub(record, 3, 18) or sub(record, 39, 54) -- mutation: deadlines
local head = '1e' .. sub(record, 3, 37) .. new_place .. last .. now .. sub(record, 71, fixed_end)
redis.call('SET', record_key, head .. ARGV[3], 'PX', ttl) -- mutation: retention, own-repeat
-- join wake
wake(record_key)
return head
