-- Claims requests of one mailbox from several stores.
-- KEYS[1]  the memo of this claim: a line for each request that it took, its attempt and its record's key
-- KEYS     then each store's queue, then each store's lapsing claims, which stay when a policy comes down to one attempt
-- ARGV     for each store, parted by spaces since most claims find nothing and need none of it: name, limit, max
--          attempts; exclusive or not, running timeout, pending timeout, retention, the times to live of a memo and of
--          a record on its last attempt
-- Returns  nil when there is nothing, else {now, then for each request its store's number, id and record, and
--          for each that had to be passed over its store's number negated, its id or '', and why}. A record is as the
--          claim found it: one that is claimable became running by it, with the next attempt.
local present = redis.call('EXISTS', unpack(KEYS))
if present == 0 then return nil end

--@prelude
local us, now = clock()
local max_examined = 1000 -- entries of one queue that one claim looks at
local start = string.match(KEYS[1], '^.-}:')

local reply = {us}
local function answer(number, id, record_or_problem)
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = number, id, record_or_problem
end

-- Answers with what an earlier claim of this id took, so far as it still runs at the attempt that it gave.
local function repeat_claim(memo)
  for attempt, record_key in string.gmatch(memo, '(%d+) ([^\n]+)\n') do
    local record = redis.pcall('GET', record_key)
    if record and not unreadable(record) and state_at(record, now) == 'r' and digits_of_attempt(record) == attempt then
      for number, terms in ipairs(ARGV) do
        local id = id_of(record_key)
        if start .. string.match(terms, '^%S+') .. '/r/' .. id == record_key then answer(number, id, record) end
      end
    end
  end
  return reply
end

-- Adds to found the claimable requests among a queue's scores from low to high, up to limit, and to gone what does not
-- belong there any more. Returns how many entries it looked at, or nothing if the queue cannot be read.
local function look(number, records, limit, queue, low, high, found, gone)
  local examined, count = 0, 0
  repeat
    local members = redis.pcall('ZRANGEBYSCORE', queue, low, high, 'LIMIT', examined, limit)
    if members.err then
      answer(-number, '', 'ZRANGEBYSCORE: ' .. members.err)
      return nil
    end
    for _, member in ipairs(members) do
      local id = id_of(member)
      local record_key = records .. id
      local record = redis.pcall('GET', record_key)
      local problem = record and unreadable(record)
      if problem then
        answer(-number, id, problem)
      elseif record and state_at(record, now) == 'p' and (member == id or member == lapsing_member(last_deadline_of(record), id)) then
        count = count + 1
        found[#found + 1] = {number = number, id = id, key = record_key, record = record, queue = queue, member = member}
      else
        gone[#gone + 1] = {queue, member}
      end
    end
    examined = examined + #members
  until #members < limit or count >= limit or examined >= max_examined
  return examined
end

-- Of the pending and the lapsed requests of a store, those that have been claimable longest, up to limit.
local function longest(found, limit)
  if #found < 2 then return found end
  table.sort(found, function(a, b) return last_deadline_of(a.record) < last_deadline_of(b.record) end)
  for i = #found, limit + 1, -1 do found[i] = nil end
  return found
end

-- What each store has in its queue, or false if that cannot be read, and what is to leave the queues.
local found, gone, seen = {}, {}, 0
local records, limits = {}, {}
for number, terms in ipairs(ARGV) do
  local name, limit = string.match(terms, '^(%S+) (%d+)')
  records[number], limits[number], found[number] = start .. name .. '/r/', tonumber(limit), {}
  local examined = look(number, records[number], limits[number], KEYS[1 + number], now, '+inf', found[number], gone)
  if not examined then
    found[number] = false
  elseif examined > 0 then
    seen = seen + 1
  end
end

-- If these queues are all that is there, as mostly, there is neither a memo nor a claim that could have lapsed.
if seen < present then
  local memo = redis.call('GET', KEYS[1])
  if memo then
    reply = {us}
    return repeat_claim(memo)
  end
  for number, requests in ipairs(found) do
    local lapsing = KEYS[1 + #ARGV + number]
    if requests and not look(number, records[number], limits[number], lapsing, '-inf', '(' .. now, requests, gone) then
      found[number] = false
    end
  end
end

local lines, memo_ttl = '', 0

-- Writes one claim. The first write is one that a full server allows: then it allows the others.
local function claim(request)
  local max_attempts, exclusive, running, pending, retention, store_memo_ttl, record_ttl =
    string.match(ARGV[request.number], '^%S+ %d+ (%d+) (%d) (%d+) (%d+) (%d+) (%d+) (%d+)')
  local record, attempt = request.record, digits_of_attempt(request.record) + 1
  local deadline, marker_ttl = digits(us + running), store_memo_ttl
  local last = deadline
  redis.call('ZREM', request.queue, request.member)
  if attempt < tonumber(max_attempts) then
    last = digits(us + running + pending)
    marker_ttl, record_ttl = milliseconds(running + pending), milliseconds(running + pending + retention)
    local lapsing = KEYS[1 + #ARGV + request.number]
    redis.call('ZADD', lapsing, deadline, lapsing_member(last, request.id))
    keep_for(lapsing, milliseconds(running + pending + queue_slack))
  end
  attempt = string.format('%04d', attempt)
  redis.call('SET', request.key, '1r' .. attempt .. deadline .. last .. created_of(record) .. now .. now .. after_head(record),
    'PX', record_ttl)
  if exclusive == '1' then redis.call('PEXPIRE', sibling(request.key, 'x', mailbox_of(record)), marker_ttl) end
  answer(request.number, request.id, record)
  lines = lines .. attempt .. ' ' .. request.key .. '\n'
  memo_ttl = math.max(memo_ttl, tonumber(store_memo_ttl))
end

for number, requests in ipairs(found) do
  if requests then
    for _, request in ipairs(longest(requests, limits[number])) do claim(request) end
  end
end
for _, stale in ipairs(gone) do redis.call('ZREM', stale[1], stale[2]) end
if memo_ttl > 0 then redis.call('SET', KEYS[1], lines, 'PX', memo_ttl) end
return reply
