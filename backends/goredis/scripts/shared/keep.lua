-- Lets a queue live for so many microseconds, and a second more: a time to live counts from another
-- reading of the clock.
local function keep(queue, us)
  local left, ttl = redis.call('PTTL', queue), math.floor(us / 1000) + 1001
  if left < ttl then redis.call('PEXPIRE', queue, string.format('%d', ttl)) end
end
