--!df flags=allow-undeclared-keys
-- Claims requests of one mailbox from one or more stores.
-- KEYS[1]  the memo of this claim: a line for each request that it took
-- KEYS[2]  the queue of the first store; KEYS[3] that of the second, and so on
-- ARGV[1]  the terms of each store, each followed by ';'. Terms are numbers, separated by spaces:
--          the length of the queue's key before 'q/'; the most requests to claim; the running timeout
--          in microseconds; the time to live of the memo in milliseconds; the time from a first claim
--          to its last deadline in microseconds, as 16 digits; the time to live of a record on its last
--          attempt in milliseconds; and, for more than one attempt: how many, and the time to live of a
--          record with attempts left in milliseconds
-- Returns  nil if there is nothing to claim; else a list: the time, then three values for each request:
--          the number of its store, its id, and its record as it was before this claim. For what was
--          passed over: the negated number, the id or '' for a whole queue, and the problem.
local present, stores, sub = redis.call('EXISTS', unpack(KEYS)), #KEYS - 1, string.sub
if present == 0 then return nil end

local time = redis.call('TIME')
local now = time[1] .. sub('00000' .. time[2], -6)
if #now < 16 then now = '0' .. now end -- before September 2001, as on some fake clocks
local memo = present > 1 and redis.call('GET', KEYS[1]) -- a memo alone is of no use
if memo then
  -- This claim was made before. Answer with the requests that still run at the attempt it gave them.
  -- join state_of
  local reply = { now }
  for claim, record_key in string.gmatch(memo, '(%d+) ([^\n]+)\n') do
    local record = redis.pcall('GET', record_key)
    if state_of(record, now) == 'running' and sub(record, 71, 90) == claim then
      for number = 1, stores do
        local store = string.match(record_key, '^(.*)r/')
        if sub(KEYS[1 + number], 1, #store + 2) == store .. 'q/' then
          reply[#reply + 1] = number
          reply[#reply + 1] = sub(record_key, -30)
          reply[#reply + 1] = record
        end
      end
    end
  end
  return reply
end

local found, unseen, waiting_from = { stores == 1 }, present, '(-' .. now
for number = 1, stores == 1 and 0 or stores do -- which queues hold anything but running requests?
  local queue = KEYS[1 + number]
  if unseen > stores - number or redis.call('EXISTS', queue) == 1 then
    found[number] = redis.pcall('ZCOUNT', queue, waiting_from, '+inf') ~= 0
    found.any = found.any or found[number]
    unseen = unseen - 1
    if unseen == 0 then break end
  end
end
if not found[1] and not found.any then return nil end

-- join state_of
local us, terms_at, taken, longest = time[1] * 1000000 + time[2], 1, '', nil
local reply = { now, nil, nil, nil } -- has room for one request, the most frequent case
for number = 1, stores do
  if found[number] then
    local queue, from, skipped, examined, ids = KEYS[1 + number], waiting_from, '0', 0
    local store_end, limit, running, hold, span, record_ttl, more =
      string.match(ARGV[1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)([^;]*)', terms_at)
    local records, wanted, problems = sub(queue, 1, store_end + 0) .. 'r/', limit, nil
    local deadline = string.format('%016d', us + running)
    repeat
      ids = redis.pcall('ZRANGEBYSCORE', queue, from, '+inf', 'LIMIT', skipped, wanted)
      if ids.err then problems = { [''] = 'ZRANGEBYSCORE: ' .. ids.err } end
      for i = 1, #ids do
        local id, record_key = ids[i], records .. ids[i]
        local record = redis.pcall('GET', record_key)
        local state, problem = state_of(record, now)
        if state == 'waiting' or state == 'expired' and from == now then
          local attempt, mailbox_at = '0001', 55
          if state == 'expired' then
            attempt, mailbox_at = string.format('%04d', tonumber(sub(record, 87, 90), 10) + 1), 91
          end
          local last, ttl = deadline, record_ttl
          if more ~= '' then
            local attempts, longer_ttl = string.match(more, '(%d+) (%d+)')
            if tonumber(attempt, 10) < tonumber(attempts) then
              last, ttl = string.format('%016d', us + tonumber(span, 10)), longer_ttl
            end
          end
          if redis.pcall('ZADD', queue, '-' .. deadline, id) ~= 0 then
            redis.call('ZREM', queue, '') -- a server without memory allows this, and then what follows
            redis.call('ZADD', queue, '-' .. deadline, id)
          end
          if state == 'expired' or span > sub(record, 39, 54) then -- else the queue lives long enough
            -- join keep
            keep(queue, tonumber(span, 10))
          end
          local claim = now .. attempt
          redis.call('SET', record_key, '1r' .. deadline .. sub(record, 19, 38) .. last .. now .. claim ..
            sub(record, mailbox_at), 'PX', ttl)
          if sub(record, 38, 38) == '1' then
            -- join payload_key
            redis.call('PEXPIRE', payload_key(record_key, record), ttl)
          end
          if taken == '' or tonumber(hold) > tonumber(longest) then longest = hold end
          taken = taken .. claim .. ' ' .. record_key .. '\n'
          local n = #reply
          reply[n + 1], reply[n + 2], reply[n + 3] = number, id, record
          wanted = wanted - 1
        elseif from ~= now then
          -- The queue has requests whose deadline has passed. They come first.
          -- join settle
          from, problems = now, settle(queue, records, now, tonumber(limit))
          break
        elseif problem then
          problems[id] = problem
          skipped = skipped + 1
        elseif state == 'running' then -- its lease had expired by a clock that was set back since
          redis.call('ZREM', queue, id)
          redis.call('ZADD', queue, '-' .. sub(record, 3, 18), id)
        else
          redis.call('ZREM', queue, id)
        end
      end
      examined = examined + #ids
    until #ids == 0 or wanted == 0 or examined >= 1000
    for id, problem in pairs(problems or {}) do
      local n = #reply
      reply[n + 1], reply[n + 2], reply[n + 3] = -number, id, problem
    end
  end
  terms_at = string.find(ARGV[1], ';', terms_at, true) + 1
end
if taken ~= '' then redis.call('SET', KEYS[1], taken, 'PX', longest) end
return reply
