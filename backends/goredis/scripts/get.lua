-- Reads a record.
-- KEYS[1]  the record
-- Returns  {now, 'ok', record} or {now, 'notfound'}
local now = clock()
local record = redis.call('GET', KEYS[1])
if not record then return {now, 'notfound'} end
return {now, 'ok', record}
