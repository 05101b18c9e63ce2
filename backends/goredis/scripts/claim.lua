-- Claims requests of one mailbox from several stores.
-- KEYS[1]  the memo of this claim: a line for each request that it took, its attempt and its record's key
-- KEYS     then each store's queue, then each store's lapsing claims, which stay when a policy comes down to one attempt
-- ARGV     for each store, parted by spaces since most claims find nothing and need none of it: limit, running
--          timeout, the times to live of a memo and of a record on its last attempt; and if it has more attempts or is
--          exclusive: max attempts, pending timeout, retention, exclusive or not
-- Returns  nil when there is nothing, else {now, then for each request its store's number, id and record, and
--          for each that had to be passed over its store's number negated, its id or '', and why}. A record is as the
--          claim found it: one that is claimable became running by it, with the next attempt.
local present = redis.call('EXISTS', unpack(KEYS))
if present == 0 then return nil end

--@include clock reckoning digits state_of
-- What the functions here need comes as arguments: to look for it around them would cost the server more.
local function answer(reply, number, id, record_or_problem)
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = number, id, record_or_problem
end

-- Keeps what a store with more attempts, or an exclusive one, has beside a record. Returns the record's last deadline and
-- its time to live, if the request has attempts left.
local function keep_beside(queue, store_end, id, attempt, deadline, us, running, hold_ttl, more, digits)
  --@include milliseconds lapsing_member keep_for
  local max_attempts, pending, retention, exclusive = string.match(more, '(%d+) (%d+) (%d+) (%d)')
  local store, mailbox, last, record_ttl = string.sub(queue, 1, store_end), string.sub(queue, store_end + 2), nil, nil
  if tonumber(attempt, 10) < tonumber(max_attempts) then
    local lapsing = store .. 'l' .. mailbox
    last, record_ttl = digits(us + running + pending), milliseconds(running + pending + retention)
    hold_ttl = milliseconds(running + pending)
    redis.call('ZADD', lapsing, deadline, lapsing_member(last, id))
    keep_for(lapsing, milliseconds(running + pending + queue_slack))
  end
  if exclusive == '1' then redis.call('PEXPIRE', store .. 'x' .. mailbox, hold_ttl) end
  return last, record_ttl
end

-- Claims what a store's queue has, up to its limit, and adds it to the reply. Returns the lines for the memo and how long
-- they count.
local function claim_from(number, reply, now, us, store_end, digits, state_of, answer, keep_beside)
  local queue, memo = KEYS[1 + number], ''
  local limit, running, memo_ttl, record_ttl, more = string.match(ARGV[number], '^(%d+) (%d+) (%d+) (%d+)(.*)')
  local offset, count, left_there, taken, examined, most_examined = '0', limit, 0, 0, 0, 1000
  repeat
    local ids = redis.pcall('ZRANGEBYSCORE', queue, now, '+inf', 'LIMIT', offset, count)
    if ids.err then
      answer(reply, -number, '', 'ZRANGEBYSCORE: ' .. ids.err)
      break
    end
    for i = 1, #ids do
      local id, record_key = ids[i], string.sub(queue, 1, store_end) .. 'r/' .. ids[i]
      local record, state, problem = redis.pcall('GET', record_key), nil, nil
      if record then state, problem = state_of(record, now) end
      if problem then
        answer(reply, -number, id, problem)
        left_there = left_there + 1
      else
        redis.call('ZREM', queue, id) -- that a full server allows: then it allows the writes behind it
      end
      if state == 'p' then
        local attempt, rest = '0001', nil
        if string.sub(record, TAG) == PENDING_TAG then
          rest = string.sub(record, PENDING_FROM_CREATED)
        else -- it lapsed
          attempt = string.format('%04d', tonumber(string.sub(record, ATTEMPT), 10) + 1)
          rest = string.sub(record, FROM_CREATED)
        end
        local deadline, last, ttl = digits(us + running), nil, nil
        if more ~= '' then
          last, ttl = keep_beside(queue, store_end, id, attempt, deadline, us, running, memo_ttl, more, digits)
        end
        local running_record = RUNNING_TAG .. now .. deadline .. (last or deadline) .. now .. attempt .. rest
        redis.call('SET', record_key, running_record, 'PX', ttl or record_ttl)
        memo = memo .. attempt .. ' ' .. record_key .. '\n'
        answer(reply, number, id, record)
        taken = taken + 1
      end
    end
    local asked = count
    examined = examined + #ids
    offset, count = left_there, limit - taken
  until count == 0 or #ids < tonumber(asked) or examined >= most_examined
  return memo, memo_ttl
end

local stores = #ARGV
local store_end = string.find(KEYS[2], '/', CHANNEL_END, true) - #KEYS[2] - 1 -- of every queue's key, counted from its end
local reply, memo, memo_ttl = {now, nil, nil, nil}, '', 0 -- the reply has room for one request, as mostly

-- If one key is all that is there and it is a queue, as mostly, there is neither a memo nor a claim that lapsed. Else
-- nothing is claimed here.
local number = 1
while present == 1 and #reply == 1 and number <= stores do
  memo, memo_ttl = claim_from(number, reply, now, us, store_end, digits, state_of, answer, keep_beside)
  number = number + 1
end
if #reply == 1 then
  --@include keep_for milliseconds
  memo_ttl = 0
  local earlier = redis.call('GET', KEYS[1])
  if earlier then
    -- What an earlier claim of this id took, so far as it still runs at the attempt that it gave.
    for attempt, record_key in string.gmatch(earlier, '(%d+) ([^\n]+)\n') do
      local record = redis.pcall('GET', record_key)
      if record and state_of(record, now) == 'r' and string.sub(record, ATTEMPT) == attempt then
        local id = string.sub(record_key, -ID_BYTES)
        for number = 1, stores do
          if string.sub(KEYS[1 + number], 1, store_end) .. 'r/' .. id == record_key then answer(reply, number, id, record) end
        end
      end
    end
    return reply
  end

  -- Puts the claims of a store that lapsed and may be made again back into its queue, as many as its limit. Returns
  -- whether that is in order.
  local function requeue(number)
    local queue, lapsing = KEYS[1 + number], KEYS[1 + stores + number]
    local limit = tonumber(string.match(ARGV[number], '^%d+'))
    if type(redis.pcall('ZCOUNT', queue, '-inf', '+inf')) == 'table' then return true end -- claim_from says why
    local returned, examined, most_examined = 0, 0, 1000
    repeat
      local members = redis.pcall('ZRANGEBYSCORE', lapsing, '-inf', '(' .. now, 'LIMIT', 0, limit)
      if members.err then
        answer(reply, -number, '', 'ZRANGEBYSCORE: ' .. members.err)
        return false
      end
      for _, member in ipairs(members) do
        local last, id = string.sub(member, 1, 16), string.sub(member, -ID_BYTES)
        redis.call('ZREM', lapsing, member)
        if last >= now then
          redis.call('ZADD', queue, last, id)
          keep_for(queue, milliseconds(tonumber(last, 10) - us + queue_slack))
          returned = returned + 1
        end
      end
      examined = examined + #members
    until #members < limit or returned >= limit or examined >= most_examined
    return true
  end

  local any_lapsing = redis.call('EXISTS', unpack(KEYS, 2 + stores)) > 0
  for number = 1, stores do
    if not any_lapsing or requeue(number) then
      local lines, ttl = claim_from(number, reply, now, us, store_end, digits, state_of, answer, keep_beside)
      memo, memo_ttl = memo .. lines, lines == '' and memo_ttl or math.max(memo_ttl, ttl)
    end
  end
end
if memo ~= '' then redis.call('SET', KEYS[1], memo, 'PX', memo_ttl) end
return reply
