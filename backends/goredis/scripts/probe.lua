-- Tries every command that the other scripts use, on two keys of its own that are gone a second later.
-- KEYS[1]  a string
-- KEYS[2]  a sorted set
-- Returns  for each command that failed its name and its error
local key, set = KEYS[1], KEYS[2]
local failed = {}
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return true end
  failed[#failed + 1] = select(1, ...)
  failed[#failed + 1] = reply.err
end

try('EXISTS', key)
try('TIME')
if try('SET', key, 'probe', 'PX', '1000') then
  try('SETRANGE', key, 0, 'probe')
  try('RENAME', key, key)
end
if try('PEXPIRE', key, '1000') and try('ZADD', set, 1, 'probe') then redis.call('PEXPIRE', set, '1000') end
try('GET', key)
try('GETRANGE', key, '0', '0')
try('PTTL', key)
try('ZCOUNT', set, '-inf', '+inf')
try('ZRANGEBYSCORE', set, '-inf', '+inf')
try('ZREVRANGEBYSCORE', set, '+inf', '-inf')
try('ZREM', set, 'probe')
try('PUBLISH', string.sub(key, CHANNEL), '')
return failed
