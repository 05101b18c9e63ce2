--!df flags=allow-undeclared-keys
-- Checks whether a claim would get a request.
-- KEYS[1]  the queue
-- ARGV[1]  the beginning of the keys of records
-- Returns  1 or 0
local queue = KEYS[1]
if redis.call('EXISTS', queue) == 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] .. time[2]
if #now < 16 then now = string.sub('0' .. time[1], -10) .. string.sub('00000' .. time[2], -6) end
if redis.call('ZCOUNT', queue, now, '+inf') > 0 then return 1 end
-- join state_of find_expired
return #find_expired(queue, ARGV[1], now, 1)
