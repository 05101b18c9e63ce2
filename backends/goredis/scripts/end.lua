-- Ends a live request.
-- KEYS[1]  the record
-- ARGV     id, attempt in 4 digits, give up or not, time to live, the ending, the body (codec and payload; unused when
--          giving up), the command, channel and topic of the wake-up
-- Returns  {now, 'ok'}, {now, 'notfound'}, {now, 'ended', record}, {now, 'stale'} or {now, 'corrupt', why}
local record_key = KEYS[1]
local id, attempt, give_up, ttl, ending, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local live_ending = 7 -- the length of a live record's ending, which is empty

local record = redis.call('GET', record_key)
--@prelude
local us, now = clock()
if not record then return {us, 'notfound'} end
local problem = unreadable(record)
if problem then return {us, 'corrupt', problem} end
if state_at(record, now) == 'e' then return {us, 'ended', record} end
if give_up == '1' then
  attempt = digits_of_attempt(record)
  body = string.sub(record, mailbox_end(record) + live_ending + 1)
end
if digits_of_attempt(record) ~= attempt then return {us, 'stale'} end

local deadline, last = deadline_of(record), last_deadline_of(record)
if attempt == '0000' then
  redis.call('ZREM', sibling(record_key, 'q', mailbox_of(record)), id)
elseif last > deadline then
  redis.call('ZREM', sibling(record_key, 'l', mailbox_of(record)), lapsing_member(last, id))
end
local ended = '1e' .. attempt .. deadlines_and_created(record) .. now .. started_and_mailbox(record) .. ending .. body
local written = redis.pcall('SET', record_key, ended, 'PX', ttl)
if written.err then -- a server without memory left allows it after a write that needs none
  redis.call('PEXPIRE', record_key, ttl)
  redis.call('SET', record_key, ended, 'PX', ttl)
end
wake(ARGV[7], ARGV[8], ARGV[9])
return {us, 'ok'}
