-- Fragments that the other scripts include, each by the name that stands on the line above it. A function costs the
-- server something in every call, used or not, so scripts include it where it is needed, and not before. Times are
-- microseconds since the epoch: numbers to reckon with, strings of 16 digits to store and to compare. Times to live are
-- milliseconds. Words in capitals are places in a record: see record.go. Numbers with zeros in front are read with
-- tonumber(digits, 10), since the Lua of miniredis else takes them for octal.

--@define clock
-- The server's clock, as digits.
local time = redis.call('TIME')
local now = time[1] .. string.sub('00000' .. time[2], -6)
if #now < 16 then now = string.rep('0', 16 - #now) .. now end -- a clock that tells a time before 2001

--@define reckoning
-- The server's clock, as a number.
local us = time[1] * 1000000 + time[2]

--@define digits
-- In two parts where an integer has 32 bits, or the clock tells a time before 2001. One as a float costs twice as much.
local function digits(us)
  local whole = string.format('%d', us)
  return #whole == 16 and whole or string.format('%010d%06d', us / 1000000, us % 1000000)
end

--@define milliseconds
-- The time to live that covers so many microseconds.
local function milliseconds(us) return string.format('%.0f', math.floor(us / 1000) + 1) end

--@define state_of
-- How a record reads at now: p(ending), which a lapsed one is again, r(unning) or e(nded), or else nil and why it cannot
-- be read. What GET gave instead of it (an error, with pcall) is no record either. Last comes, of a live one, where its
-- mailbox ends. What else may be damaged is for those to find who decode the record.
local function state_of(record, now)
  if type(record) == 'table' then return nil, record.err end
  local tag, deadline, length_end = string.sub(record, TAG), nil, nil
  if tag == RUNNING_TAG then
    deadline, length_end = string.sub(record, DEADLINE), LENGTH_END
  elseif tag == PENDING_TAG then
    deadline, length_end = string.sub(record, PENDING_DEADLINE), PENDING_LENGTH_END
    if not tonumber(string.sub(record, PENDING_CREATED)) then length_end = nil end
  elseif tag == ENDED_TAG then
    return 'e'
  end
  local mailbox_end = length_end and length_end + (tonumber(string.sub(record, length_end - 2, length_end), 10) or math.huge)
  if not mailbox_end or #record < mailbox_end + SHORTEST_BODY or not tonumber(deadline) then
    return nil, 'not a record of version 1'
  end
  if now <= deadline then return tag == RUNNING_TAG and 'r' or 'p', nil, mailbox_end end
  if tag == RUNNING_TAG and now <= string.sub(record, LAST_DEADLINE) and tonumber(string.sub(record, ATTEMPT), 10) then
    return 'p', nil, mailbox_end
  end
  return 'e'
end

--@define sibling
-- The key of kind q(ueue), l(apsing), x (exclusive) or r(ecord) that belongs with a record's key.
local function sibling(record_key, kind, name) return string.sub(record_key, 1, -ID_BYTES - 3) .. kind .. '/' .. name end

--@define lapsing_member
-- The member of a lapsing claim in its queue, which goes by the deadline: the last deadline, and the id.
local function lapsing_member(last_deadline, id) return last_deadline .. id end

--@define keep_for
-- Lets a key live for ttl at least. A queue lives longer than its last member by queue_slack, since a time to live is
-- told against another reading of the clock.
local queue_slack = 1000000
local function keep_for(key, ttl)
  local left = redis.call('PTTL', key) -- negative when there is no end to it yet
  if left < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end

--@define claimable
-- How many requests a claim could get beside those that wait in the queue, counted no further than enough in all.
local function claimable(waiting, lapsing, now, enough)
  local count, offset, page = waiting, 0, 100
  while count < enough do
    local members = redis.call('ZREVRANGEBYSCORE', lapsing, '(' .. now, '-inf', 'LIMIT', offset, page)
    for _, member in ipairs(members) do
      if string.sub(member, 1, 16) >= now then count = count + 1 end
    end
    if #members < page then break end
    offset = offset + page
  end
  return count
end
