-- Settles the requests of a queue whose deadlines have passed. Requests that may be claimed again
-- join the waiting ones, about 100 per call, the longest expired first. Requests that timed out are
-- removed. A call examines at most about 1,000 requests. Returns the problems of unreadable
-- records, by their keys.
local function settle(queue, records, now)
  local problems, skipped, moved, examined = {}, 0, 0, 0
  redis.call('ZREM', queue, '') -- Redis allows it when out of memory: see end.lua
  repeat
    local ids = redis.call('ZREVRANGEBYSCORE', queue, '0', '(-' .. now, 'LIMIT', skipped, '100')
    for _, id in ipairs(ids) do
      local record = redis.pcall('GET', records .. id)
      local state, problem = state_of(record, now)
      if problem then
        problems[records .. id] = problem
        skipped = skipped + 1
      elseif state == 'expired' then -- mutation: expired
        redis.call('ZADD', queue, string.sub(record, 39, 54), id) -- mutation: order
        moved = moved + 1
      else
        redis.call('ZREM', queue, id) -- mutation: timed-out
      end
    end
    examined = examined + #ids
  until #ids < 100 or moved >= 100 or examined >= 1000
  local timed_out = redis.call('ZRANGEBYSCORE', queue, '0', '(' .. now, 'LIMIT', '0', '100')
  if #timed_out > 0 then redis.call('ZREM', queue, unpack(timed_out)) end
  return problems
end
