-- Reads a record.
-- KEYS[1]  the record
-- ARGV[1]  if it is there: read even a large record that has ended
-- Returns  the record if it has ended, nil if there is none, else {the server's time as TIME tells it, the record}. Of a
--          large one that has ended 1: the plain command reads it much faster, and it will not change.
local record = redis.call('GETRANGE', KEYS[1], '0', '1023') -- all of it, mostly
local ended = string.sub(record, TAG) == ENDED_TAG
if record == '' or #record == 1024 then
  if ended and not ARGV[1] and redis.call('GETRANGE', KEYS[1], 'LARGE', 'LARGE') ~= '' then return 1 end
  record = redis.call('GET', KEYS[1])
end
if not record or ended then return record end
return {redis.call('TIME'), record}
