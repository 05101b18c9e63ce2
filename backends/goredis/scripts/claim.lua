--!df flags=allow-undeclared-keys
-- Claims requests of one mailbox from one or more stores.
-- KEYS[1]  the memo of this claim: see keys.go
-- KEYS[2]  the queue of the first store; KEYS[3] the queue of the second, and so on
-- ARGV[1]  for each store, ended by ';', numbers separated by spaces: the length of the queue's key
--          before 'q/'; the most requests to claim; the running timeout in microseconds, as 16
--          digits; the time to live of a record on its last attempt, in milliseconds; and, if a
--          request may have more than one attempt: the time from a first claim to its last deadline
--          in microseconds, as 16 digits; how many attempts; and the time to live of a record with
--          attempts left, in milliseconds
-- Returns  nil if there is nothing to claim; else the time, and for each request the key of its
--          record and the record before this claim. For each unreadable record or queue: a newline
--          and its key, and the problem.
local call, keys, sub = redis.call, KEYS, string.sub
local present = call('EXISTS', unpack(keys))
if present == 0 then return nil end

local time, first, final = call('TIME'), 2, #keys
if present == 1 and final > 2 then
  -- Exactly one key exists. Find it among the queues, two at a time. Return if all its requests
  -- run, and for longer than this second.
  while first + 1 < final do
    -- EXISTS counts a repeated key twice: 2 if the first queue exists, 1 if the second, else 0.
    local found = call('EXISTS', keys[first], keys[first], keys[first + 1])
    first = first + 2 - found
    if found > 0 then final = first end
  end
  if first < final and call('EXISTS', keys[first]) == 0 then first = final end
  final = first
  local threshold = '(-' .. time[1] .. '999999'
  if redis.pcall('ZCOUNT', keys[first], threshold, '+inf') == 0 then return nil end
end
local now = time[1] .. time[2]
if #now < 16 then now = sub('0' .. time[1], -10) .. sub('00000' .. time[2], -6) end
local memo = present > 1 and call('GET', keys[1]) -- mutation: memo; no queue, no requests
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
      if is_moving(record_key, sub(record_key, -30)) then
        return redis.error_reply('TRYAGAIN a claimed record is missing')
      end
    end
  end
  return reply
end

-- unseen: how many existing keys the loop has not reached
local not_running, unseen, reply, taken, latest = '(-' .. now, present, nil, '', ''
for number = first, final do
  local queue = keys[number]
  -- If not all queues exist, check this one. It must also have a request that does not run.
  local found = unseen > final - number or call('EXISTS', queue) == 1
  if found then
    unseen = unseen - 1
    found = first == final or redis.pcall('ZCOUNT', queue, not_running, '+inf') ~= 0
  end
  if found then
    -- join state_of
    local terms_at = 1
    for _ = 3, number do terms_at = string.find(ARGV[1], ';', terms_at, true) + 1 end
    local store_end, limit, running, record_ttl, more =
      string.match(ARGV[1], '^(%d+) (%d+) (%d+) (%d+)([^;]*)', terms_at)
    local span, attempts, longer_ttl = running
    if more ~= '' then span, attempts, longer_ttl = string.match(more, '(%d+) (%d+) (%d+)') end
    local store = sub(queue, 1, store_end + 0)
    local deadline = string.format('%016d', now + tonumber(running, 10))
    local from, wanted, skipped, examined = not_running, limit, '0', 0
    local settled, ids, problems = false
    repeat
      ids = redis.pcall('ZRANGEBYSCORE', queue, from, '+inf', 'LIMIT', skipped, wanted)
      if ids.err then problems = { [queue] = 'ZRANGEBYSCORE: ' .. ids.err } end
      for i = 1, #ids do
        local id, record_key = ids[i], store .. 'r/' .. ids[i]
        local record = redis.pcall('GET', record_key)
        local state, problem, _, place = state_of(record, now)
        if state == 'waiting' or state == 'expired' and settled then
          local attempt, last, ttl = '0001', deadline, record_ttl
          if state == 'expired' then
            attempt = string.format('%04d', tonumber(sub(record, 87, 90), 10) + 1)
          end
          if attempts and tonumber(attempt, 10) < tonumber(attempts) then -- mutation: attempts
            last, ttl = string.format('%016d', now + tonumber(span, 10)), longer_ttl
          end
          if redis.pcall('ZADD', queue, '-' .. deadline, id) ~= 0 then -- mutation: taken
            -- The server is out of memory. It allows this ZREM, and then the ZADD that follows.
            call('ZREM', queue, '')
            call('ZADD', queue, '-' .. deadline, id)
          end
          -- The queue outlives a first claim, unless the creator had shorter terms.
          if state == 'expired' or span > sub(record, 39, 54) then
            -- join keep
            keep(queue, tonumber(span, 10))
          end
          local head = 'r' .. deadline .. sub(record, 19, 38) .. last .. now .. now .. attempt
          call('SETRANGE', record_key, '1', head)
          call('PEXPIRE', record_key, ttl) -- mutation: record-ttl
          if place ~= '0' and place ~= '2' then
            -- join payload_key
            redis.pcall('PEXPIRE', payload_key(record_key, record), ttl)
          end
          if deadline > latest then latest = deadline end
          taken = taken .. now .. attempt .. ' ' .. record_key .. '\n'
          if reply then
            reply[#reply + 1] = record_key
            reply[#reply + 1] = record
          else
            reply = { now, record_key, record }
          end
          wanted = wanted - 1 -- mutation: limit
        elseif not settled then
          -- Requests with a deadline in the past come first. Settle them, and begin again.
          -- join settle
          from, settled, problems = now, true, settle(queue, store .. 'r/', now)
          break
        elseif problem then
          problems[record_key] = problem
          skipped = skipped + 1
        elseif state == 'running' then -- its lease had expired before the clock was set back
          call('ZREM', queue, '')
          call('ZADD', queue, '-' .. sub(record, 3, 18), id)
        else
          -- join is_moving
          if not record and is_moving(record_key, id) then
            problems[record_key] = 'the record is missing: the Cluster may be moving it'
            skipped = skipped + 1
          else
            call('ZREM', queue, id)
          end
        end
      end
      examined = examined + #ids
    until #ids == 0 or wanted == 0 or examined >= 1000
    if problems then
      for key, problem in pairs(problems) do
        reply = reply or { now }
        reply[#reply + 1] = '\n' .. key
        reply[#reply + 1] = problem
      end
    end
  end
  if unseen == 0 then break end
end
-- mutation: memo-kept, memo-ttl
if taken ~= '' then call('SET', keys[1], taken, 'PXAT', sub(latest, 1, 13)) end
return reply
