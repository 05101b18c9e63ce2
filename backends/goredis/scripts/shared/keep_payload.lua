-- Lets a record's payload live for ttl milliseconds. Returns false if the payload is missing: a
-- Cluster may be moving it, or the server may have evicted it.
local function keep_payload(record_key, record, ttl)
  local payload = string.sub(record_key, 1, -33) .. 'p/' .. string.sub(record, -26)
  return redis.pcall('PEXPIRE', payload, ttl) == 1
end
