-- Lets a queue live for at least us microseconds and a second. The second is for the time that has
-- passed since the script read the clock.
local function keep(queue, us)
  local left, ttl = redis.call('PTTL', queue), math.floor(us / 1000) + 1001
  -- mutation: queue-ttl
  if left < ttl then redis.call('PEXPIRE', queue, string.format('%d', ttl)) end
end
