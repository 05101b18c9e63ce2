-- Joined into the scripts where they say so, behind what decides the most frequent call, each paragraph only into those
-- that use what it defines: it costs the server something in every call. Times are microseconds since the epoch:
-- numbers to reckon with, strings of 16 digits to store and to compare. Times to live are milliseconds. record.go says
-- what the bytes of a record mean; these functions are the only ones here that know.

local function digits(us) return string.format('%016.0f', us) end

-- The server's clock, as a number and as digits.
local function clock()
  local time = redis.call('TIME')
  local us = time[1] * 1000000 + time[2]
  return us, digits(us)
end

local function digits_of_attempt(record) return string.sub(record, 3, 6) end

local function deadline_of(record) return string.sub(record, 7, 22) end

local function last_deadline_of(record) return string.sub(record, 23, 38) end

local function created_of(record) return string.sub(record, 39, 54) end

local function after_head(record) return string.sub(record, 87) end

local function deadlines_and_created(record) return string.sub(record, 7, 54) end

local function mailbox_end(record) return 89 + tonumber(string.sub(record, 87, 89), 10) end

local function mailbox_of(record) return string.sub(record, 90, mailbox_end(record)) end

local function started_and_mailbox(record) return string.sub(record, 71, mailbox_end(record)) end

-- Why a record cannot be read, or nil. What GET gave instead of it (an error, with pcall) is no record either.
local SHORTEST_REST = 9 -- the lengths of the ending and of the codec's name, behind the mailbox

local function unreadable(record)
  if type(record) == 'table' then return record.err end
  local _, last = string.find(record, '^1[pre]%d*')
  if not last or last < 89 or #record < mailbox_end(record) + SHORTEST_REST then return 'not a record of version 1' end
end

-- How a readable record reads at now: p(ending), which a lapsed one is again, r(unning) or e(nded).
local function state_at(record, now)
  local stored = string.sub(record, 2, 2)
  if stored == 'e' or now > last_deadline_of(record) then return 'e' end
  if stored == 'r' and now > deadline_of(record) then return 'p' end
  return stored
end

-- The members of a mailbox's queues: pending requests by deadline, and claims that have attempts left by
-- deadline, with the last deadline in front of the id.
local ID_LENGTH = 30

local function id_of(member) return string.sub(member, -ID_LENGTH) end

local function lapsing_member(last_deadline, id) return last_deadline .. id end

-- The key of kind q(ueue), l(apsing), x (exclusive) or r(ecord) that belongs with a record's key.
local function sibling(record_key, kind, name) return string.sub(record_key, 1, -ID_LENGTH - 3) .. kind .. '/' .. name end

-- The time to live that covers so many microseconds.
local function milliseconds(us) return string.format('%.0f', math.floor(us / 1000) + 1) end

-- How much longer than its last member a queue lives, since a time to live is told against another reading of the clock.
local queue_slack = 1000000

-- Lets a key live for ttl at least.
local function keep_for(key, ttl)
  local left = redis.call('PTTL', key) -- negative when there is no end to it yet
  if left < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end

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

-- Tells those who wait that a topic changed, as the last thing a script does. That a wake-up cannot be sent costs
-- them time, not the operation its success.
local function wake(publish, channel, topic) redis.pcall(publish, channel, topic) end
