-- Lets a record's payload live for ttl milliseconds. Returns false if the payload is missing: a
-- Cluster may be moving it, or the server may have evicted it.
local function keep_payload(record_key, record, ttl)
  return redis.pcall('PEXPIRE', payload_key(record_key, record), ttl) == 1
end
