-- Tries the commands that the operations need, on two keys that expire after a second.
-- KEYS[1]  a string
-- KEYS[2]  a sorted set
-- ARGV[1]  the name of the command that wakes waiters
-- Returns  the name and the error of each command that failed
local key, set = KEYS[1], KEYS[2]
local failed = {}
local function note(command, reply)
  if type(reply) ~= 'table' or not reply.err then return true end
  failed[#failed + 1] = command
  failed[#failed + 1] = reply.err
end
local function try(...) return note(select(1, ...), redis.pcall(...)) end

try('EXISTS', key)
try('TIME')
if try('SET', key, 'probe', 'PX', '1000') then try('SETRANGE', key, '0', 'probe') end
if try('PEXPIRE', key, '1000') and try('ZADD', set, '1', 'probe') then
  redis.call('PEXPIRE', set, '1000')
end
try('GET', key)
try('MGET', key)
try('PTTL', key)
try('ZCOUNT', set, '-inf', '+inf')
try('ZRANGEBYSCORE', set, '-inf', '+inf')
try('ZREVRANGEBYSCORE', set, '+inf', '-inf')
try('ZREM', set, 'probe')
if ARGV[1] == 'SPUBLISH' then try('ZSCORE', set, 'probe') end
-- join wake
note(ARGV[1], wake(key))
return failed
