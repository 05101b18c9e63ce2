-- Removes a staged payload, unless the record refers to it: then this call is a repeat of one that
-- worked. If the user may not run UNLINK, the payload expires within seconds.
local function discard(staged, record_key, record)
  -- mutation: stored-payload
  if not record or payload_key(record_key, record) ~= staged then redis.pcall('UNLINK', staged) end
end
