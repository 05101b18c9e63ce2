-- Returns at most enough ids of expired leases that may be claimed again. It examines at most 1,000
-- ids of the queue. Others count as soon as a claim has settled them. The keys of records begin
-- with records.
local function find_expired(queue, records, now, enough)
  local found, offset, page = {}, 0, 100
  repeat
    local ids = redis.call('ZRANGEBYSCORE', queue, '(-' .. now, '0', 'LIMIT', offset, page)
    for _, id in ipairs(ids) do
      if state_of(redis.pcall('GET', records .. id), now) == 'expired' then
        found[#found + 1] = id -- mutation: cap-expired
        if #found == enough then return found end
      end
    end
    offset = offset + page
  until #ids < page or offset == 1000
  return found
end
