-- Claims requests of one mailbox from several stores.
-- KEYS[1]  the memo of this claim: a line for each request that it took, its attempt and its record's key
-- KEYS     then for each store its queue and, if it has more than one attempt, its lapsing claims
-- ARGV     for each store: the record keys' common start, limit, running timeout, pending timeout, retention,
--          max attempts, the exclusive marker's key or ''
-- Returns  nil when there is nothing, else {now, then for each request its store's number, id and record, and
--          for each that had to be passed over its store's number negated, its id or '', and why}
if redis.call('EXISTS', unpack(KEYS)) == 0 then return nil end

local us, now = clock()
local max_examined = 1000 -- entries of one queue that one claim looks at

local stores = {}
local key = 2
for arg = 1, #ARGV, 7 do
  local store = {number = #stores + 1, records = ARGV[arg], limit = tonumber(ARGV[arg + 1]), running = ARGV[arg + 2],
    pending = ARGV[arg + 3], retention = ARGV[arg + 4], max_attempts = tonumber(ARGV[arg + 5]), marker = ARGV[arg + 6],
    queue = KEYS[key]}
  key = key + 1
  if store.max_attempts > 1 then
    store.lapsing = KEYS[key]
    key = key + 1
  end
  stores[store.number] = store
end

local reply = {us}
local function answer(number, id, record_or_problem)
  reply[#reply + 1] = number
  reply[#reply + 1] = id
  reply[#reply + 1] = record_or_problem
end

local function repeat_claim(memo)
  for attempt, record_key in string.gmatch(memo, '(%d+) ([^\n]+)\n') do
    local record = redis.pcall('GET', record_key)
    if record and not unreadable(record) and state_at(record, now) == 'r' and attempt_of(record) == tonumber(attempt, 10) then
      for _, store in ipairs(stores) do
        local id = id_of(record_key)
        if store.records .. id == record_key then answer(store.number, id, record) end
      end
    end
  end
  return reply
end

local memo = redis.call('GET', KEYS[1])
if memo then return repeat_claim(memo) end

-- Adds the store's claimable requests among the queue's scores from low to high to found, and to gone what does
-- not belong in the queue. Returns nothing if the queue cannot be read.
local function look(store, queue, low, high, found, gone)
  local examined = 0
  repeat
    local members = redis.pcall('ZRANGEBYSCORE', queue, low, high, 'LIMIT', examined, store.limit)
    if members.err then
      answer(-store.number, '', 'ZRANGEBYSCORE: ' .. members.err)
      return nil
    end
    for _, member in ipairs(members) do
      local id = id_of(member)
      local record = redis.pcall('GET', store.records .. id)
      local problem = record and unreadable(record)
      if problem then
        answer(-store.number, id, problem)
      elseif record and state_at(record, now) == 'p' then
        found[#found + 1] = {id = id, record = record, queue = queue, member = member}
      else
        gone[#gone + 1] = member
      end
    end
    examined = examined + #members
  until #members < store.limit or #found >= store.limit or examined >= max_examined
  return true
end

-- Reads what a store has to give: found, the longest claimable first, and what to remove from which queue.
local function survey(store)
  local found, gone = {}, {[store.queue] = {}}
  if not look(store, store.queue, now, '+inf', found, gone[store.queue]) then return {}, {} end
  if store.lapsing then
    local lapsed = {}
    gone[store.lapsing] = {}
    if not look(store, store.lapsing, '-inf', '(' .. now, lapsed, gone[store.lapsing]) then return {}, {} end
    for _, request in ipairs(lapsed) do found[#found + 1] = request end
    table.sort(found, function(a, b) return last_deadline_of(a.record) < last_deadline_of(b.record) end)
  end
  for i = #found, store.limit + 1, -1 do found[i] = nil end
  for _, request in ipairs(found) do table.insert(gone[request.queue], request.member) end
  return found, gone
end

local lines, memo_us = {}, 0

-- Writes one claim. What it was found in has lost it before: the first write is one that a full server allows.
local function claim(store, request)
  local record, attempt = request.record, attempt_of(request.record) + 1
  local deadline_us = us + store.running
  local last_us = deadline_us + (attempt < store.max_attempts and store.pending or 0)
  local deadline, last = digits(deadline_us), digits(last_us)
  record = head('r', attempt, deadline, last, created_of(record), now, now) .. after_head(record)
  if last > deadline then
    redis.call('ZADD', store.lapsing, deadline, lapsing_member(last, request.id))
    keep_until(store.lapsing, last_us, us)
  end
  redis.call('SET', store.records .. request.id, record, 'PXAT', expiry(last_us + store.retention))
  if store.marker ~= '' then redis.call('PEXPIREAT', store.marker, expiry(last_us)) end
  answer(store.number, request.id, record)
  lines[#lines + 1] = string.format('%04d', attempt) .. ' ' .. store.records .. request.id .. '\n'
  memo_us = math.max(memo_us, deadline_us)
end

local surveys = {}
for i, store in ipairs(stores) do
  local found, gone = survey(store)
  surveys[i] = {found = found, gone = gone}
end
for i, store in ipairs(stores) do
  for queue, members in pairs(surveys[i].gone) do
    if #members > 0 then redis.call('ZREM', queue, unpack(members)) end
  end
  for _, request in ipairs(surveys[i].found) do claim(store, request) end
end
if #lines > 0 then redis.call('SET', KEYS[1], table.concat(lines), 'PXAT', expiry(memo_us)) end
return reply
