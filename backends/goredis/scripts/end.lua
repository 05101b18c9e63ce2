-- Ends a live request.
-- KEYS[1]  the record
-- KEYS[2]  if the ending is large: where it has been staged, behind room for the head
-- ARGV[1]  attempt in 4 digits, or 'any ' to give up, and the time to live
-- ARGV[2]  the ending, and behind it, unless giving up, the body (codec and payload); if staged, the room for the head
-- Returns  now, or {now, 'notfound'}, {now, 'ended', record}, {now, 'stale'}, {now, 'corrupt', why} or {now, 'unstaged'}
local record_key, staged = KEYS[1], KEYS[2]
local attempt, ttl = string.sub(ARGV[1], 1, 4), string.sub(ARGV[1], 5)

local record = ''
if staged then record = redis.call('GETRANGE', record_key, '0', '1023') end -- its head: what follows will be replaced
if record == '' then record = redis.call('GET', record_key) end
--@include clock state_of
local state, problem, mailbox_end
if record then state, problem, mailbox_end = state_of(record, now) end
if state == 'p' and string.sub(record, TAG) == PENDING_TAG then -- fill in what only those have that were claimed
  local zero, deadline = '0000000000000000', string.sub(record, PENDING_DEADLINE)
  record = PENDING_TAG .. zero .. deadline .. deadline .. zero .. '0000' .. string.sub(record, PENDING_FROM_CREATED)
  mailbox_end = mailbox_end + LENGTH_END - PENDING_LENGTH_END
end

local refusal
if not record then
  refusal = {now, 'notfound'}
elseif problem then
  refusal = {now, 'corrupt', problem}
elseif state == 'e' then
  refusal = {now, 'ended', staged and redis.call('GET', record_key) or record}
elseif attempt ~= 'any ' and attempt ~= string.sub(record, ATTEMPT) then
  refusal = {now, 'stale'}
elseif staged and (mailbox_end ~= tonumber(ARGV[2]) or redis.call('PEXPIRE', staged, ttl) == 0) then
  refusal = {now, 'unstaged'}
end
if refusal then
  if staged then redis.pcall('UNLINK', staged) end -- else it goes by itself, in a moment
  return refusal
end

local ended = ENDED_TAG .. now .. string.sub(record, FROM_DEADLINE, mailbox_end)
if staged then redis.call('SETRANGE', staged, 0, ended) end
local last = string.sub(record, LAST_DEADLINE)
local may_lapse = last > string.sub(record, DEADLINE)
if state == 'p' or may_lapse then
  --@include sibling lapsing_member
  local id, mailbox = string.sub(record_key, -ID_BYTES), string.sub(record, LENGTH_END + 1, mailbox_end)
  if state == 'p' then redis.call('ZREM', sibling(record_key, 'q', mailbox), id) end -- unclaimed, or lapsed and back there
  if may_lapse then redis.call('ZREM', sibling(record_key, 'l', mailbox), lapsing_member(last, id)) end
end
if staged then
  redis.call('RENAME', staged, record_key)
else
  ended = ended .. ARGV[2]
  if attempt == 'any ' then ended = ended .. string.sub(record, mailbox_end + 1) end
  local written = redis.pcall('SET', record_key, ended, 'PX', ttl)
  if written.err then -- a server without memory left allows it after a write that needs none
    redis.call('PEXPIRE', record_key, ttl)
    redis.call('SET', record_key, ended, 'PX', ttl)
  end
end
redis.pcall('PUBLISH', string.sub(record_key, CHANNEL), record_key) -- a wake-up that cannot be sent costs those who wait time, not this its success
return now
