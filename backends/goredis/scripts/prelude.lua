-- Fragments that the other scripts include, each by the name that stands on the line above it. A function costs the
-- server something in every call, used or not, so scripts include it where it is needed, and not before. Times are
-- microseconds since the epoch: numbers to reckon with, strings of 16 digits to store and to compare. Times to live are
-- milliseconds. Words in capitals are places in a record: see record.go. Numbers with zeros in front are read with
-- tonumber(digits, 10), since the Lua of miniredis else takes them for octal.

--@define clock
-- The server's clock, as a number and as digits.
local time = redis.call('TIME')
local seconds, micros = time[1] + 0, time[2] + 0
local us, now = seconds * 1000000 + micros, string.format('%010d%06d', seconds, micros)

--@define digits
-- In two parts, since an integer may have 32 bits, and a conversion of a float costs twice as much.
local function digits(us) return string.format('%010d%06d', us / 1000000, us % 1000000) end

--@define milliseconds
-- The time to live that covers so many microseconds.
local function milliseconds(us) return string.format('%.0f', math.floor(us / 1000) + 1) end

--@define state_of
-- How a record reads at now: p(ending), which a lapsed one is again, r(unning) or e(nded), or else nil and why it cannot
-- be read. What GET gave instead of it (an error, with pcall) is no record either.
local function state_of(record, now)
  if type(record) == 'table' then return nil, record.err end
  local _, digits_end = string.find(record, '^1[pre]%d*')
  local stored = string.sub(record, STATE)
  local length_end = stored == 'p' and PENDING_LENGTH_END or LENGTH_END
  if not digits_end or digits_end < length_end
    or #record < length_end + tonumber(string.sub(record, length_end - 2, length_end), 10) + SHORTEST_BODY then
    return nil, 'not a record of version 1'
  end
  if stored == 'r' then
    if now <= string.sub(record, DEADLINE) then return 'r' end
    if now <= string.sub(record, LAST_DEADLINE) then return 'p' end
  elseif stored == 'p' and now <= string.sub(record, PENDING_DEADLINE) then
    return 'p'
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
