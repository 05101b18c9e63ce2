-- Wakes the waiters of a queue or a record. If PUBLISH fails, they find out at their next poll.
-- Returns the reply.
local function wake(key)
  return redis.pcall('PUBLISH', string.sub(key, 1, string.find(key, '}', 1, true)), key)
end
