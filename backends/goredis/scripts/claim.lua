--!df flags=allow-undeclared-keys
-- Claims requests of one mailbox from one or more stores.
-- KEYS[1]  the memo of this claim: see keys.go
-- KEYS[2]  the queue of the first store; KEYS[3] the queue of the second, and so on
-- ARGV[1]  for each store, ended by ';', numbers separated by spaces: the length of the queue's key
--          before 'q/'; the most requests to claim; the running timeout in microseconds; the time
--          to live of the memo in milliseconds; the time from a first claim to its last deadline in
--          microseconds, as 16 digits; the time to live of a record on its last attempt, in
--          milliseconds; and, if a request may have more than one attempt: how many, and the time
--          to live of a record with attempts left, in milliseconds
-- Returns  nil if there is nothing to claim; else the time, and for each request the key of its
--          record and the record before this claim. For each unreadable record or queue: a newline
--          and its key, and the problem.
local present, stores, sub = redis.call('EXISTS', unpack(KEYS)), #KEYS - 1, string.sub
if present == 0 then return nil end

local time = redis.call('TIME')
local now = time[1] .. sub('00000' .. time[2], -6)
if #now < 16 then now = '0' .. now end -- before September 2001: a fake clock
local memo = present > 1 and redis.call('GET', KEYS[1]) -- mutation: memo; no queue, no requests
if memo then
  -- join state_of
  -- This claim is a repeat. Return the requests that still run at the attempt of the first claim.
  local reply = { now }
  for claim, record_key in string.gmatch(memo, '(%d+) ([^\n]+)\n') do
    local record = redis.pcall('GET', record_key)
    local state, problem = state_of(record, now)
    -- mutation: repeat-claim, repeat-running
    if state == 'running' and sub(record, 71, 90) == claim then
      reply[#reply + 1] = record_key
      reply[#reply + 1] = record
    elseif problem then
      reply[#reply + 1] = '\n' .. record_key
      reply[#reply + 1] = problem
    elseif not record then
      -- join is_moving
      if is_moving(sub(record_key, -30)) then
        return redis.error_reply('TRYAGAIN a claimed record is missing')
      end
    end
  end
  return reply
end

-- unseen: how many of the stores that are left may have a queue
local not_running, unseen, reply, taken, latest, memo_ttl = '(-' .. now, present, nil, '', '', nil
for number = 1, stores do
  local queue = KEYS[1 + number]
  -- If not all queues exist, check this one. It must also have more than running requests.
  local found = stores == 1 or unseen > stores - number or redis.call('EXISTS', queue) == 1
  if found then
    unseen = unseen - 1
    found = stores == 1 or redis.pcall('ZCOUNT', queue, not_running, '+inf') ~= 0
  end
  if found then
    -- join state_of
    local us, terms_at = time[1] * 1000000 + time[2], 1
    for _ = 2, number do terms_at = string.find(ARGV[1], ';', terms_at, true) + 1 end
    local store_end, limit, running, store_memo_ttl, span, record_ttl, more =
      string.match(ARGV[1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)([^;]*)', terms_at)
    local records = sub(queue, 1, store_end + 0) .. 'r/'
    local deadline = string.format('%016d', us + running)
    local from, wanted, skipped, examined = not_running, limit, '0', 0
    local settled, ids, problems = false
    repeat
      ids = redis.pcall('ZRANGEBYSCORE', queue, from, '+inf', 'LIMIT', skipped, wanted)
      if ids.err then problems = { [queue] = 'ZRANGEBYSCORE: ' .. ids.err } end
      for i = 1, #ids do
        local id, record_key = ids[i], records .. ids[i]
        local record = redis.pcall('GET', record_key)
        local state, problem, _, place = state_of(record, now)
        if state == 'waiting' or state == 'expired' and settled then
          local attempt, last, ttl = '0001', deadline, record_ttl
          if state == 'expired' then
            attempt = string.format('%04d', tonumber(sub(record, 87, 90), 10) + 1)
          end
          if more ~= '' then
            local attempts, longer_ttl = string.match(more, '(%d+) (%d+)')
            if tonumber(attempt, 10) < tonumber(attempts) then -- mutation: attempts
              last, ttl = string.format('%016d', us + tonumber(span, 10)), longer_ttl
            end
          end
          if redis.pcall('ZADD', queue, '-' .. deadline, id) ~= 0 then -- mutation: taken
            redis.call('ZREM', queue, '') -- allowed when out of memory
            redis.call('ZADD', queue, '-' .. deadline, id)
          end
          if state == 'expired' or span > sub(record, 39, 54) then -- else it lives long enough
            -- join keep
            keep(queue, tonumber(span, 10))
          end
          local claim = now .. attempt
          local head = 'r' .. deadline .. sub(record, 19, 38) .. last .. now .. claim
          redis.call('SETRANGE', record_key, '1', head)
          redis.call('PEXPIRE', record_key, ttl) -- mutation: record-ttl
          if place ~= '0' and place ~= '2' then
            -- join keep_payload
            keep_payload(record_key, record, ttl)
          end
          if deadline > latest then latest, memo_ttl = deadline, store_memo_ttl end
          taken = taken .. claim .. ' ' .. record_key .. '\n'
          reply = reply or { now }
          reply[#reply + 1] = record_key
          reply[#reply + 1] = record
          wanted = wanted - 1 -- mutation: limit
        elseif not settled then
          -- Requests with a deadline in the past come first. Tidy them, and begin again.
          -- join settle
          from, settled, problems = now, true, settle(queue, records, now)
          break
        elseif problem then
          problems[record_key] = problem
          skipped = skipped + 1
        elseif state == 'running' then -- its lease had expired before the clock was set back
          redis.call('ZREM', queue, '')
          redis.call('ZADD', queue, '-' .. sub(record, 3, 18), id)
        else
          -- join is_moving
          if not record and is_moving(id) then
            problems[record_key] = 'the record is missing: the Cluster may be moving it'
            skipped = skipped + 1
          else
            redis.call('ZREM', queue, id)
          end
        end
      end
      examined = examined + #ids
    until #ids == 0 or wanted == 0 or examined >= 1000
    for key, problem in pairs(problems or {}) do
      reply = reply or { now }
      reply[#reply + 1] = '\n' .. key
      reply[#reply + 1] = problem
    end
  end
  if unseen == 0 then break end
end
-- mutation: memo-kept, memo-ttl
if taken ~= '' then redis.call('SET', KEYS[1], taken, 'PX', memo_ttl) end
return reply
