--!df flags=allow-undeclared-keys
-- Reads a record.
-- KEYS[1]  the record
-- Returns  the record if it has ended; nil if there is none; else {the reply of TIME, the record}
local record = redis.call('GET', KEYS[1])
if not record or string.sub(record, 1, 2) == '1e' then return record end
return { redis.call('TIME'), record }
