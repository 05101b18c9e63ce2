-- Tries every command that the other scripts use, on two keys of its own that are gone a second later.
-- KEYS[1]  a string
-- KEYS[2]  a sorted set
-- ARGV     the command and the channel for wake-ups
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
if try('TIME') then
  local us = clock()
  local soon = expiry(us + 1000000)
  if try('SET', key, 'probe', 'PXAT', soon) then try('SETRANGE', key, 0, 'probe') end
  if try('PEXPIREAT', key, soon) and try('ZADD', set, 1, 'probe') then redis.call('PEXPIREAT', set, soon) end
end
try('GET', key)
try('PTTL', key)
try('ZCOUNT', set, '-inf', '+inf')
try('ZRANGEBYSCORE', set, '-inf', '+inf')
try('ZREVRANGEBYSCORE', set, '+inf', '-inf')
try('ZREM', set, 'probe')
try(ARGV[1], ARGV[2], '')
return failed
