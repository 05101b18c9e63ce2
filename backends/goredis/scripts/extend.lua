-- Gives a running request a new deadline.
-- KEYS[1]  the record
-- KEYS     if the caller knows the mailbox, its lapsing claims and its exclusive marker, so that a cluster refuses the
--          call (TRYAGAIN) while it moves them and only some have arrived
-- ARGV     id, attempt in 4 digits, running timeout, pending timeout or 0 for the last attempt, the times to live of the
--          record, of the lapsing claims and of the exclusive marker, exclusive or not
-- Returns  {now, 'ok'}, {now, 'notfound'}, {now, 'ended', record}, {now, 'stale'} or {now, 'corrupt', why}
local record_key = KEYS[1]
local id, attempt, running, pending = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local record_ttl, lapsing_ttl, marker_ttl, exclusive = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

--@prelude
local record = redis.call('GET', record_key)
local us, now = clock()
if not record then return {us, 'notfound'} end
local problem = unreadable(record)
if problem then return {us, 'corrupt', problem} end
local state = state_at(record, now)
if state == 'e' then return {us, 'ended', record} end
if state ~= 'r' or digits_of_attempt(record) ~= attempt then return {us, 'stale'} end

local deadline, last = digits(us + running), digits(us + running + pending)
local lapsing = sibling(record_key, 'l', mailbox_of(record))
if last_deadline_of(record) > deadline_of(record) then
  redis.call('ZREM', lapsing, lapsing_member(last_deadline_of(record), id))
end
redis.call('PEXPIRE', record_key, record_ttl) -- first of the writes that are always made: allowed when memory is full
if last > deadline then
  redis.call('ZADD', lapsing, deadline, lapsing_member(last, id))
  keep_for(lapsing, lapsing_ttl)
end
if exclusive == '1' then redis.call('PEXPIRE', sibling(record_key, 'x', mailbox_of(record)), marker_ttl) end
redis.call('SETRANGE', record_key, 0, '1r' .. attempt .. deadline .. last .. created_of(record) .. now)
return {us, 'ok'}
