--!df flags=allow-undeclared-keys
-- Gives a running request a new deadline.
-- KEYS[1]  the record
-- KEYS[2]  the queue, on a Cluster: see end.lua
-- ARGV[1]  numbers, separated by spaces: the attempt in 4 digits; the running timeout and the time
--          until the last deadline in microseconds; the time to live of the record in milliseconds
-- Returns  the time; or {time, 'notfound'}, {time, 'ended', record}, {time, 'stale'} or {time,
--          'corrupt', problem}
local sub, record_key = string.sub, KEYS[1]
local attempt, running, until_last, record_ttl = string.match(ARGV[1], '^(%d+) (%d+) (%d+) (%d+)')

-- join state_of
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local now = time[1] .. string.sub('00000' .. time[2], -6)
if #now < 16 then now = '0' .. now end -- before September 2001, as on some fake clocks
local record = redis.call('GET', record_key)
local state, problem, mailbox_end, place = state_of(record, now)
if not record then return { now, 'notfound' } end
if problem then return { now, 'corrupt', problem } end
if state == 'ended' then return { now, 'ended', record } end
if state ~= 'running' or sub(record, 87, 90) ~= attempt then return { now, 'stale' } end

-- join keep
local queue = sub(record_key, 1, -33) .. 'q/' .. sub(record, 91, mailbox_end)
local deadline, last = string.format('%016d', us + running), string.format('%016d', us + until_last)
-- A server without memory allows the first write, and then all others of the script.
if place == '1' then
  -- join keep_payload
  if not keep_payload(record_key, record, record_ttl) then
    return redis.error_reply('TRYAGAIN a payload is missing')
  end
end
redis.call('PEXPIRE', record_key, record_ttl)
redis.call('ZADD', queue, '-' .. deadline, sub(record_key, -30))
keep(queue, until_last)
redis.call('SETRANGE', record_key, '2', deadline .. sub(record, 19, 38) .. last .. now)
return now
