-- Reads a payload that a replica does not have yet.
-- KEYS[1]  the payload
-- Returns  the payload, or nil if there is none
return redis.call('GET', KEYS[1])
