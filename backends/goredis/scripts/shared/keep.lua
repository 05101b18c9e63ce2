-- Lets a queue live for us microseconds, and a second more, since the clock has moved on.
local function keep(queue, us)
  local left, ttl = redis.call('PTTL', queue), math.floor(us / 1000) + 1001
  -- mutation: queue-ttl
  if left < ttl then redis.call('PEXPIRE', queue, string.format('%d', ttl)) end
end
