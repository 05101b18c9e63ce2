-- Returns the ids of up to most claimable requests with expired leases. It examines the same 1,000
-- ids of the queue as settle.lua, so it finds a request if and only if a claim would. It misses
-- later ones until a claim settles the queue. The keys of records begin with records.
local function find_expired(queue, records, now, most)
  local found, offset, page = {}, 0, 100
  repeat
    local ids = redis.call('ZREVRANGEBYSCORE', queue, '0', '(-' .. now, 'LIMIT', offset, page)
    for _, id in ipairs(ids) do
      if state_of(redis.pcall('GET', records .. id), now) == 'expired' then
        found[#found + 1] = id -- mutation: cap-expired
        if #found == most then return found end
      end
    end
    offset = offset + page
  until #ids < page or offset == 1000
  return found
end
