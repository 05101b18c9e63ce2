-- Reads a record.
-- KEYS[1]  the record
-- Returns  {the server's time as TIME tells it, the record or nil}
local record = redis.call('GET', KEYS[1])
return {redis.call('TIME'), record}
