--!df flags=allow-undeclared-keys
-- Reads live requests of a mailbox, from the highest score of its queue down.
-- KEYS[1]  the queue
-- ARGV[1]  the beginning of the keys of records
-- ARGV[2]  the highest score to examine
-- ARGV[3]  the last id with this score that the previous page examined; '' on the first page
-- ARGV[4]  how many requests to examine at most
-- Returns  the time; the score and the id that were examined last, both '' on the last page; and
--          for each request its id and its record. For each unreadable record: a newline and the
--          id, and the problem.
local queue, highest, last_id = KEYS[1], ARGV[2], ARGV[3]
local limit = tonumber(ARGV[4])
-- join state_of
local time = redis.call('TIME')
local now = time[1] .. time[2]
if #now < 16 then now = string.sub('0' .. time[1], -10) .. string.sub('00000' .. time[2], -6) end
local reply, examined, before = { now, '', '' }, 0, ''
-- At most 100 requests share a score: a claim gives one deadline to at most 100.
local scored = redis.call('ZREVRANGEBYSCORE', queue, highest, '-inf', 'WITHSCORES', 'LIMIT', '0',
  string.format('%d', limit + 101))
for i = 1, #scored, 2 do
  local id, score = scored[i], scored[i + 1]
  if last_id == '' or score ~= highest or id < last_id then
    if examined == limit then
      reply[2], reply[3] = before, scored[i - 2]
      break
    end
    examined, before = examined + 1, score
    local record = redis.pcall('GET', ARGV[1] .. id)
    local state, problem = state_of(record, now)
    if problem then
      reply[#reply + 1] = '\n' .. id
      reply[#reply + 1] = problem
    elseif state ~= 'ended' then
      reply[#reply + 1] = id
      reply[#reply + 1] = record
    end
  end
end
return reply
