-- Ends a live request.
-- KEYS[1]  the record
-- ARGV     id, attempt, give up or not, retention, the ending, the body (codec and payload; unused when giving up),
--          the command and the channel for wake-ups
-- Returns  {now, 'ok'}, {now, 'notfound'}, {now, 'ended', record}, {now, 'stale'} or {now, 'corrupt', why}
local id, attempt, give_up, retention, ending, body = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local publish, channel = ARGV[7], ARGV[8]
local live_ending = 7 -- the length of a live record's ending, which is empty

local record = redis.call('GET', KEYS[1])
local us, now = clock()
if not record then return {us, 'notfound'} end
local problem = unreadable(record)
if problem then return {us, 'corrupt', problem} end
if state_at(record, now) == 'e' then return {us, 'ended', record} end
if give_up ~= '1' and attempt_of(record) ~= attempt then return {us, 'stale'} end
if give_up == '1' then body = string.sub(record, mailbox_end(record) + live_ending + 1) end

local deadline, last, mailbox = deadline_of(record), last_deadline_of(record), mailbox_of(record)
local until_ms = expiry(us + retention)
-- The first write is one that a server without memory left allows: after it, it allows the SET.
if attempt_of(record) == 0 then
  redis.call('ZREM', sibling(KEYS[1], 'q', mailbox), id)
elseif last > deadline then
  redis.call('ZREM', sibling(KEYS[1], 'l', mailbox), lapsing_member(last, id))
else
  redis.call('PEXPIREAT', KEYS[1], until_ms)
end
local ended = head('e', attempt_of(record), deadline, last, created_of(record), now, started_of(record))
  .. string.sub(record, 87, mailbox_end(record)) .. ending .. body
redis.call('SET', KEYS[1], ended, 'PXAT', until_ms)
wake(publish, channel, 'r' .. id)
return {us, 'ok'}
